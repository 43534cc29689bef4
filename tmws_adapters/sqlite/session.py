"""What runs on a connection between the beginning and the end of a snapshot or a unit of work."""

import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from typing import Literal, TypeVar

import anyio
import anyio.to_thread
import attrs

from tmws_adapters.cancellation import in_any_case
from tmws_adapters.sqlite.presence import OpenFile
from tmws_core.errors import StorageUnavailable

T = TypeVar("T")


@attrs.define(eq=False)
class Session:
    """A snapshot or a unit of work on one connection, begun by the first thing that is run in it.

    A failing statement ends it: what it did is undone at once, and whatever is run later, and `keep`, raise the same
    error, so that no part of a unit is ever committed. A unit that begins inside the transaction of others is a
    savepoint, so that it can be undone alone. `failure` is what the error that ended it means.
    """

    _connection: sqlite3.Connection
    _begin: Literal["BEGIN", "BEGIN IMMEDIATE"]
    _limiter: anyio.CapacityLimiter
    _file: OpenFile
    # Held while a worker thread uses the connection: a task may be gone before its thread is.
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _deferred: "deque[Callable[[sqlite3.Connection], object]]" = attrs.field(factory=deque, init=False)
    failure: StorageUnavailable | None = attrs.field(default=None, init=False)
    _begun: bool = attrs.field(default=False, init=False)
    _joined: bool = attrs.field(default=False, init=False)
    _kept: bool = attrs.field(default=False, init=False)
    _ended: bool = attrs.field(default=False, init=False)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a worker thread; raises what its errors mean."""
        return await anyio.to_thread.run_sync(self._run, work, limiter=self._limiter)

    async def defer(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Run `work` along with what is run next, or at the end: for what a unit writes and does not read.

        It saves a trip to a worker thread. In a snapshot, which cannot write, it is run at once.
        """
        if self._begin == "BEGIN IMMEDIATE":
            self._deferred.append(work)
        else:
            await self.run(work)

    async def keep(self) -> bool:
        """End the unit, leave what it did to the transaction's commit, and tell whether it ran anything."""
        if self._joined or self._deferred:
            await self.run(self._release)
        with self._lock:
            self._raise_failure()
            self._ended = self._kept = True
            return self._begun

    async def abort(self) -> None:
        """Undo in a worker thread, after whatever still runs there, even if the task is cancelled meanwhile."""
        await in_any_case(lambda: anyio.to_thread.run_sync(self.end, limiter=self._limiter))

    def end(self) -> None:
        """Undo everything; touches no disk when nothing was written."""
        with self._lock:
            self._ended = True
            self._undo()

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            if self._ended:
                raise RuntimeError("the transaction has ended")
            self._raise_failure()
            try:
                if not self._begun:
                    self._start()
                while self._deferred:
                    self._deferred.popleft()(self._connection)
                return work(self._connection)
            except sqlite3.Error as error:
                self.failure = self._file.meaning(error)
                self._undo()
                raise self.failure from error

    def _raise_failure(self) -> None:
        if self.failure is not None:
            # Each who asks has an error of its own to raise, with its own traceback.
            raise attrs.evolve(self.failure) from self.failure

    def _start(self) -> None:
        if self._begin == "BEGIN IMMEDIATE":
            self._file.check()
        self._joined = self._connection.in_transaction
        self._connection.execute("SAVEPOINT unit" if self._joined else self._begin)
        self._begun = True

    def _release(self, connection: sqlite3.Connection) -> None:
        if self._joined:
            # The lexical index writes here what it has held back, so that this may fail as any statement may.
            connection.execute("RELEASE unit")
            self._kept = True

    def _undo(self) -> None:
        # SQLite has rolled back the whole transaction by itself after some errors, such as a full disk.
        if self._begun and not self._kept and self._connection.in_transaction:
            if self._joined:
                self._connection.execute("ROLLBACK TO unit")
                self._connection.execute("RELEASE unit")
            else:
                self._connection.execute("ROLLBACK")
        self._begun = False
