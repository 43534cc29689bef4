"""What runs on a connection between the beginning and the end of a snapshot or a unit of work."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import attrs
import psycopg
from psycopg.pq import TransactionStatus

from tmws_adapters.postgres.errors import storage_error

T = TypeVar("T")

Row = tuple[Any, ...]
Values = Mapping[str, Any] | Sequence[Any]

SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
UNIT = "BEGIN ISOLATION LEVEL READ COMMITTED"

_NOTE_CHANGES = """
    UPDATE memory_changes SET changes = changes + %(changes)s, documents = documents + %(documents)s,
        tokens = tokens + %(tokens)s
    WHERE slot = mod(pg_backend_pid(), 64)
"""
"""Units on connections of one part wait for each other only while one commits."""


@attrs.define(eq=False)
class Session:
    """A snapshot or a unit of work on one connection, begun by the first statement; without `begin`, single questions.

    A failing statement ends it: whatever is run later, and `commit`, raise the same error, so that no part of a unit is
    ever committed.
    """

    connection: psycopg.AsyncConnection[Row]
    _begin: str = ""
    _deferred: list[Callable[[], Awaitable[None]]] = attrs.field(factory=list, init=False)
    locked: set[int] = attrs.field(factory=set, init=False)
    _counted: Counter[str] = attrs.field(factory=Counter, init=False)
    _failure: psycopg.Error | None = attrs.field(default=None, init=False)
    _begun: bool = attrs.field(default=False, init=False)
    _ended: bool = attrs.field(default=False, init=False)

    @property
    def writes(self) -> bool:
        """Tell whether this is a unit of work."""
        return self._begin == UNIT

    async def rows(self, sql: str, values: Values = (), *, binary: bool = False) -> list[Row]:
        """Run a statement and return its rows."""
        async with self._running():
            cursor = self.connection.cursor(binary=binary)
            return await (await cursor.execute(sql, values)).fetchall()

    async def row(self, sql: str, values: Values = ()) -> Row | None:
        """Run a statement and return its first row, or None."""
        async with self._running():
            return await (await self.connection.execute(sql, values)).fetchone()

    async def run(self, sql: str, values: Values = ()) -> int:
        """Run a statement and return how many rows it changed."""
        async with self._running():
            return (await self.connection.execute(sql, values)).rowcount

    async def script(self, sql: str) -> None:
        """Run several statements at once, without values."""
        async with self._running():
            await self.connection.execute(sql.encode())

    async def run_many(self, sql: str, rows: Iterable[Values]) -> int:
        """Run a statement once with each of the rows, and return how many rows it changed."""
        async with self._running():
            cursor = self.connection.cursor()
            await cursor.executemany(sql, rows)
            return cursor.rowcount

    def defer(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` at the end of the unit, just before it is committed.

        It is for what takes a lock that many units take: they hold it for the commit only, and none of them waits for
        another lock meanwhile, so that no two wait for each other.
        """
        self._deferred.append(work)

    def count(self, **numbers: int) -> None:
        """Add to the columns of `memory_changes` at the end of the unit."""
        self._counted.update(numbers)

    async def settle(self) -> None:
        """Run what was deferred, always in one order."""
        if self._counted:
            await self._note_changes()
        while self._deferred:
            await self._deferred.pop(0)()

    async def commit(self) -> None:
        """End the unit and make durable what it did."""
        await self.settle()
        if self._begun:
            async with self._running():
                await self.connection.execute("COMMIT")
        self._check()
        self._ended = True

    async def end(self) -> None:
        """Undo what was not committed, even if the task is cancelled; a connection in doubt is closed."""
        self._ended = True
        with anyio.CancelScope(shield=True):
            status = self.connection.pgconn.transaction_status
            if status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}:
                try:
                    await self.connection.execute("ROLLBACK")
                except psycopg.Error:
                    await self.connection.close()
            elif status != TransactionStatus.IDLE:
                await self.connection.close()

    async def _note_changes(self) -> None:
        counted, self._counted = self._counted, Counter()
        await self.run(_NOTE_CHANGES, {name: counted[name] for name in ("changes", "documents", "tokens")})

    def _check(self) -> None:
        if self._ended:
            raise RuntimeError("the transaction has ended")
        if self._failure is not None:
            raise storage_error(self._failure) from self._failure

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        self._check()
        try:
            if self._begin and not self._begun:
                await self.connection.execute(self._begin)
                self._begun = True
            yield
        except psycopg.Error as error:
            self._failure = self._failure or error
            raise storage_error(self._failure) from self._failure
