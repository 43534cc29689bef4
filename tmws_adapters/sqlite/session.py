"""One transaction: what runs in it and how it ends."""

import sqlite3
import threading
from collections.abc import Callable
from typing import Literal, TypeVar

import anyio
import anyio.to_thread
import attrs

from tmws_adapters.sqlite.errors import storage_error

T = TypeVar("T")


@attrs.define(eq=False)
class Session:
    """One transaction on one connection, begun by the first thing that is run in it.

    A failing statement ends it: the transaction is rolled back at once, and whatever is run later, and the commit,
    raise the same error, so that no part of a transaction is ever committed.
    """

    _connection: sqlite3.Connection
    _begin: Literal["BEGIN", "BEGIN IMMEDIATE"]
    _limiter: anyio.CapacityLimiter
    # Held while a worker thread uses the connection: a task may be gone before its thread is.
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _failure: sqlite3.Error | None = attrs.field(default=None, init=False)
    _ended: bool = attrs.field(default=False, init=False)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a worker thread; raises what its errors mean."""
        return await anyio.to_thread.run_sync(self._run, work, limiter=self._limiter)

    async def commit(self) -> None:
        """Make the transaction durable, in a worker thread."""
        await anyio.to_thread.run_sync(self._run, _commit, limiter=self._limiter)
        self._ended = True

    async def abort(self) -> None:
        """Roll back in a worker thread, after whatever still runs there, even if the task is cancelled."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.end, limiter=self._limiter)

    def end(self) -> None:
        """Give up the transaction; touches no disk when nothing was written."""
        with self._lock:
            self._ended = True
            self._roll_back()

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            if self._ended:
                raise RuntimeError("the transaction has ended")
            if self._failure is not None:
                raise storage_error(self._failure) from self._failure
            try:
                if not self._connection.in_transaction:
                    self._connection.execute(self._begin)
                return work(self._connection)
            except sqlite3.Error as error:
                self._failure = error
                self._roll_back()
                raise storage_error(error) from error

    def _roll_back(self) -> None:
        # SQLite has rolled back by itself after some errors, such as a full disk.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _commit(connection: sqlite3.Connection) -> None:
    connection.execute("COMMIT")
