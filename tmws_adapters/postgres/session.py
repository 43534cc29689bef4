"""What runs on a connection between the beginning and the end of a snapshot or a unit of work."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import anyio
import attrs
import psycopg
from psycopg.pq import TransactionStatus

from tmws_adapters.postgres.errors import storage_error
from tmws_adapters.postgres.opener import cut_off
from tmws_adapters.postgres.readers import ALL

T = TypeVar("T")

Row = tuple[Any, ...]
Values = Mapping[str, Any] | Sequence[Any]

QUESTION = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
UNIT = "BEGIN ISOLATION LEVEL READ COMMITTED"

_DURABLY = "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
"""Asked of each transaction by itself: behind a pooler no session keeps what it was told. What waits for standbys as
well stays as the operator has set it."""

UNDOING = 2.0
"""Seconds in which a server has to undo a transaction, which takes a trip: closing the connection undoes it, too."""

_PLAN = "SET LOCAL plan_cache_mode = {mode}"

_BITMAPS = "SET LOCAL enable_bitmapscan TO {mode}"

_NOTE_CHANGES = """
    UPDATE memory_changes SET changes = changes + %(changes)s, documents = documents + %(documents)s,
        tokens = tokens + %(tokens)s
    WHERE slot = mod(pg_backend_pid(), 64)
"""
"""Units on connections of one part wait for each other only while one commits."""


_SEE = "SELECT set_config('tmws.audience', %s, true)"
"""Until the end of the transaction: the next one on the connection, maybe somebody else's, has said nothing yet."""


@attrs.define(eq=False)
class Session:
    """A snapshot or a unit of work on one connection, begun by the first statement; without `begin`, single questions.

    Each statement with an answer is a trip to the server, and takes along what was to run `later`. A failing statement
    ends it: whatever is run afterwards, and `commit`, raise the same error: no part of a unit is ever committed.
    After `limit` seconds without an answer the connection counts as lost.
    """

    connection: psycopg.AsyncConnection[Row]
    _begin: str = ""
    _limit: float | None = None
    _deferred: list[Callable[[], Awaitable[None]]] = attrs.field(factory=list, init=False)
    locked: set[int] = attrs.field(factory=set, init=False)
    _counted: Counter[str] = attrs.field(factory=Counter, init=False)
    _waiting: list[tuple[str, Values]] = attrs.field(factory=list, init=False)
    _sight: str = attrs.field(default="", init=False)
    _failure: psycopg.Error | None = attrs.field(default=None, init=False)
    _in_doubt: bool = attrs.field(default=False, init=False)
    _begun: bool = attrs.field(default=False, init=False)
    _committing: bool = attrs.field(default=False, init=False)
    _ended: bool = attrs.field(default=False, init=False)
    _planned_once: bool = attrs.field(default=False, init=False)

    @property
    def writes(self) -> bool:
        """Tell whether this is a unit of work."""
        return self._begin == UNIT

    @property
    def met_a_replica(self) -> bool:
        """Tell whether the server refused to change anything."""
        return isinstance(self._failure, psycopg.errors.ReadOnlySqlTransaction)

    @property
    def met_a_conflict(self) -> bool:
        """Tell whether another transaction, or on a replica what it was sent, made the server give this one up."""
        return isinstance(self._failure, psycopg.errors.SerializationFailure)

    def see(self, words: Iterable[str]) -> None:
        """Let statements from now on see what one of the words opens, and change what belongs to one of them.

        Single questions become one read-only transaction by it.
        """
        # No word holds the end of a line: what claims one would be two words.
        sight = "\n".join(word.replace("\n", " ") for word in words)
        if sight != self._sight:
            self._begin = self._begin or QUESTION
            self._sight = sight
            if self._waiting and self._waiting[-1][0] == _SEE:
                self._waiting.pop()
            self.later(_SEE, (sight,))

    def finds_by_key(self) -> None:
        """Let statements from now on keep their plans, until one is planned `afresh`: for transactions only.

        Rows that are found by their keys are found in one way, whichever they are; planning that each time, for each
        partition, takes 0.5 ms.
        """
        if not self._planned_once:
            self._plan_once(once=True)

    def _plan_once(self, *, once: bool) -> None:
        self._planned_once = once
        self.later(_PLAN.format(mode="force_generic_plan" if once else "auto"))

    @contextmanager
    def seeing_all(self) -> Iterator[None]:
        """See and change everything in the block, as only the program itself may, and then what was seen before."""
        former = self._sight
        self.see([ALL])
        try:
            yield
        finally:
            self.see(former.split("\n"))

    @contextmanager
    def without_bitmaps(self) -> Iterator[None]:
        """Find rows in the block by one index each, for statements that are planned `afresh`.

        Where the server has no figures of a table yet, it expects few rows of an audience, and reads the entries of
        all of them for each row that a key finds.
        """
        self.later(_BITMAPS.format(mode="off"))
        try:
            yield
        finally:
            self.later(_BITMAPS.format(mode="DEFAULT"))

    async def rows(self, sql: str, values: Values = (), *, binary: bool = False, afresh: bool = False) -> list[Row]:
        """Run a statement and return its rows.

        One that finds rows by who may read them is planned `afresh` each time: a plan that is kept may be the best for
        the words of another reader (a page of a team's 4,000 memories took 10 ms of CPU instead of 4).
        """
        if afresh and self._planned_once:
            self._plan_once(once=False)
        async with self._running():
            prepare = False if afresh else None
            cursor = await self.connection.cursor(binary=binary).execute(sql, values, prepare=prepare)
        return await cursor.fetchall()

    async def last(self, sql: str, values: Values = (), *, binary: bool = False) -> list[Row]:
        """Run a statement, return its rows, and end what it is the last one of: of single questions only."""
        async with self._running():
            cursor = await self.connection.cursor(binary=binary).execute(sql, values)
            if self._begun:
                await self.connection.execute("COMMIT")
        self._ended = True
        return await cursor.fetchall()

    async def answers(self, *statements: tuple[str, Values], ends: bool = False) -> list[list[Row]]:
        """Run statements one after the other, in one trip to the server, and return the rows of each.

        Single questions may end with it.
        """
        self._waiting += statements[:-1]
        async with self._running() as former:
            cursor = await self.connection.execute(*statements[-1])
            if ends and self._begun:
                await self.connection.execute("COMMIT")
        self._ended = ends
        cursors = [*former[len(former) - len(statements) + 1 :], cursor]
        return [await each.fetchall() for each in cursors]

    async def row(self, sql: str, values: Values = ()) -> Row | None:
        """Run a statement and return its first row, or None."""
        async with self._running():
            cursor = await self.connection.execute(sql, values)
        return await cursor.fetchone()

    async def run(self, sql: str, values: Values = ()) -> int:
        """Run a statement and return how many rows it changed."""
        async with self._running():
            cursor = await self.connection.execute(sql, values)
        return cursor.rowcount

    def later(self, sql: str, values: Values = ()) -> None:
        """Run a statement along with the next one that has an answer, or with the commit; a failure is told then."""
        self._waiting.append((sql, values))

    async def flush(self) -> None:
        """Run what waits now, and tell of its failures."""
        async with self._running():
            pass

    async def script(self, sql: str) -> None:
        """Run several statements at once, without values."""
        # Many statements in one text are none for a pipeline.
        await self.flush()
        async with self._running():
            await self.connection.execute(sql.encode())

    async def run_many(self, sql: str, rows: Iterable[Values]) -> int:
        """Run a statement once with each of the rows, and return how many rows it changed."""
        async with self._running(piped=True):
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
            counted, self._counted = self._counted, Counter()
            self.later(_NOTE_CHANGES, {name: counted[name] for name in ("changes", "documents", "tokens")})
        while self._deferred:
            await self._deferred.pop(0)()

    async def commit(self) -> None:
        """End the unit and make durable what it did, also where the server is set to acknowledge what is not yet."""
        await self.settle()
        if self._begun or self._waiting:
            self.later(_DURABLY)
            self._committing = True
            await self.run("COMMIT")
        self._check()
        self._ended = True

    async def end(self) -> None:
        """Undo what was not committed, even if the task is cancelled; a connection in doubt is closed."""
        self._ended = True
        if self._in_doubt:
            await self.connection.close()
        elif self.connection.pgconn.transaction_status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}:
            try:
                with anyio.CancelScope(shield=True), cut_off(self.connection, UNDOING):
                    await self.connection.execute("ROLLBACK")
            except psycopg.Error:
                await self.connection.close()
            except BaseException:
                # What asyncio cancels by itself no scope shields.
                await self.connection.close()
                raise

    def _check(self) -> None:
        if self._ended:
            raise RuntimeError("the transaction has ended")
        if self._failure is not None:
            raise storage_error(self._failure, committing=self._committing) from self._failure

    @asynccontextmanager
    async def _running(self, *, piped: bool = False) -> "AsyncIterator[list[psycopg.AsyncCursor[Row]]]":
        """Send what waits and then what the block runs, in one trip; the answers to the latter are there behind it."""
        self._check()
        waiting, self._waiting = self._waiting, []
        if self._begin and not self._begun:
            waiting.insert(0, (self._begin, ()))
            self._begun = True
        piped = piped or bool(waiting)
        try:
            with cut_off(self.connection, self._limit):
                if piped:
                    async with self._pipeline():
                        yield [await self.connection.execute(sql, values) for sql, values in waiting]
                else:
                    yield []
        except psycopg.Error as error:
            self._failure = self._failure or error
            # What stood behind the failure in a pipeline was not prepared, and psycopg believes that it was.
            self._in_doubt = piped or error.sqlstate is None
            raise storage_error(self._failure, committing=self._committing) from self._failure
        except BaseException:
            # Given up in the middle: an answer may still come, and what waited may never have been sent.
            self._failure = self._failure or psycopg.OperationalError("given up")
            self._in_doubt = True
            raise

    @asynccontextmanager
    async def _pipeline(self) -> AsyncIterator[None]:
        pipeline: psycopg.AsyncPipeline | None = None
        try:
            async with self.connection.pipeline() as pipeline:
                yield
        except psycopg.Error:
            raise
        except BaseException:
            if pipeline is not None:
                # The driver would ask for these answers when its generator is thrown away, on a closed connection.
                pipeline.result_queue.clear()
            raise
