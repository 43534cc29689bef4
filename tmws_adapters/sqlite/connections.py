"""Connections to one file: one for writing, which its users queue for, and two small pools for reading."""

import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Literal

import anyio
import anyio.to_thread
import attrs

from tmws_adapters.cancellation import in_any_case, in_thread
from tmws_adapters.sqlite.checkpoints import BY_HAND, TIMEOUT_SECONDS, Checkpoints
from tmws_adapters.sqlite.presence import OpenFile
from tmws_adapters.sqlite.session import Session
from tmws_core.errors import StorageGone, StorageUnavailable, TmwsError
from tmws_core.turns import Turns

Synchronous = Literal["FULL", "NORMAL"]

READERS = 4
"""Connections in each pool; reading is bound by the processor, so more of them than cores only cost memory."""

CACHE_KIB = 16 * 1024
"""Page cache of one connection, in KiB: the scope index of 100,000 memories, which a search may read whole."""

INSTANCES = "CREATE VIRTUAL TABLE temp.memories_fts_instances USING fts5vocab(main, memories_fts, instance)"
"""Where each word stands, as the index of FTS5 holds it; of this connection, and nothing of it is in the file."""

SWITCH_RETRY = timedelta(milliseconds=5)
"""Pause between attempts to switch a new file to write-ahead logging while other processes open it, too."""

GROUP = timedelta(milliseconds=50)
"""How long units join one transaction: none is durable before its end, and nobody else writes to the file until then.
A commit takes 0.2 to 5 ms."""

AGENT_UNITS = 8
"""Units of one agent that wait for their turn at once: as many as one commit carries with eight clients."""

HELD, REST = timedelta(seconds=1), timedelta(milliseconds=120)
"""How much longer than it leaves the file to others this process writes before it rests, and for how long: SQLite asks
for a locked file every 100 ms (`sqliteDefaultBusyCallback`), and may miss shorter pauses again and again."""


def _absolute(path: Path) -> Path:
    return path.absolute()


def _set(statement: str, connection: sqlite3.Connection) -> None:
    connection.execute(statement)


@attrs.frozen(kw_only=True)
class Opener:
    """Opens connections that are set up alike, to the same file all of them."""

    # The process may change its directory.
    path: Path = attrs.field(converter=_absolute)
    busy_timeout: timedelta
    synchronous: Synchronous
    file: OpenFile = attrs.field(
        init=False, default=attrs.Factory(lambda self: OpenFile.at(self.path), takes_self=True)
    )

    def writer(self) -> sqlite3.Connection:
        """Open a connection for writing, and switch the file to write-ahead logging if it is not yet."""
        return self._connect(
            self._use_write_ahead_log,
            lambda connection: connection.execute(f"PRAGMA synchronous = {self.synchronous}"),
            lambda connection: connection.execute("PRAGMA foreign_keys = ON"),
            *(partial(_set, statement) for statement in BY_HAND),
            self.file.keep_beside,
        )

    def guard(self) -> sqlite3.Connection:
        """Open a connection that keeps others from writing for a moment."""
        return self._connect(partial(_set, f"PRAGMA busy_timeout = {round(TIMEOUT_SECONDS * 1000)}"))

    def reader(self) -> sqlite3.Connection:
        """Open a connection that refuses to write; StorageGone where it would read another log than the writer's."""
        return self._connect(
            lambda connection: connection.execute(INSTANCES),
            lambda connection: connection.execute("PRAGMA query_only = ON"),
            # It opens the log by its path, when it first reads.
            lambda connection: connection.execute("SELECT 1 FROM sqlite_schema").fetchone(),
            lambda _: self.file.check(),
        )

    def _use_write_ahead_log(self, connection: sqlite3.Connection) -> None:
        deadline = time.monotonic() + self.busy_timeout.total_seconds()
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                # The switch needs the file for itself and, unlike statements, does not wait for others to leave it.
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(SWITCH_RETRY.total_seconds())
            else:
                return

    def _connect(self, *steps: Callable[[sqlite3.Connection], object]) -> sqlite3.Connection:
        try:
            connection = self.file.opened(self._open)
            try:
                connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
                connection.execute("PRAGMA temp_store = MEMORY")
                for step in steps:
                    step(connection)
            except (sqlite3.Error, StorageGone):
                connection.close()
                raise
        except sqlite3.Error as error:
            raise self.file.meaning(error) from error
        return connection

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self.path.as_uri()}?mode=rw",
            uri=True,
            timeout=self.busy_timeout.total_seconds(),
            isolation_level=None,
            check_same_thread=False,
        )


@attrs.define(eq=False)
class ReaderPool:
    """Hands out reading connections, opening at most READERS of them; who comes later waits."""

    _opener: Opener
    _limiter: anyio.CapacityLimiter
    _slots: anyio.Semaphore = attrs.field(factory=lambda: anyio.Semaphore(READERS, fast_acquire=True), init=False)
    _idle: list[sqlite3.Connection] = attrs.field(factory=list, init=False)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """Borrow a connection for one snapshot, which begins with the first statement."""
        async with self._slots:
            while not self._idle:
                # A task that is cancelled meanwhile leaves it to the next one.
                await in_thread(self._open, self._limiter)
            connection = self._idle.pop()
            session = Session(connection, "BEGIN", self._limiter, self._opener.file)
            sound = False
            try:
                yield session
                session.end()
                sound = True
            except BaseException as error:
                await session.abort()
                # A statement that was left half read keeps its snapshot, for as long as a traceback holds on to it.
                sound = isinstance(error, TmwsError) and session.failure is None
                raise
            finally:
                if sound:
                    self._idle.append(connection)
                else:
                    connection.close()

    def _open(self) -> None:
        self._idle.append(self._opener.reader())

    def close(self) -> None:
        """Close the connections; none is borrowed any more."""
        for connection in self._idle:
            connection.close()


@attrs.define(eq=False)
class _Commit:
    """A commit to come of all units of work that have run since the one before; `failure` is why it cannot.

    `since` is when the first of them began, on the monotonic clock; `waiting` are scopes to be left when it is done.
    """

    units: int = 0
    since: float = 0.0
    waiting: set[anyio.CancelScope] = attrs.field(factory=set)
    done: bool = False
    failure: StorageUnavailable | None = None


@attrs.define(eq=False)
class Connections:
    """All connections of this process to one file.

    Units of work run one after the other and are committed together: after its last statement each queues once more,
    behind those that wait to run, and whoever comes first commits for all. One client waits for nobody; of eight, each
    commit, which waits for the disk, carries several. A unit that comes to a transaction of GROUP commits it first, so
    that however many wait, nobody who has written waits for all of them; and a process that writes without a pause
    rests before other processes give up.

    `snapshots` serves whole snapshots, `lookups` single questions. They are apart because a snapshot's user may ask
    single questions while it holds its connection: with one pool, as many such users as connections would wait for
    each other for ever.
    """

    snapshots: ReaderPool
    lookups: ReaderPool
    file: OpenFile
    _writer: sqlite3.Connection
    _limiter: anyio.CapacityLimiter
    _checkpoints: Checkpoints
    _agents: Turns = attrs.field(factory=lambda: Turns(AGENT_UNITS), init=False)
    _turn: anyio.Lock = attrs.field(factory=lambda: anyio.Lock(fast_acquire=True), init=False)
    _writing: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _commit: _Commit = attrs.field(factory=_Commit, init=False)
    # For how many seconds this process has written more than it has left the file to others, and when it last did.
    _held: float = attrs.field(default=0.0, init=False)
    _left: float = attrs.field(default=0.0, init=False)

    @asynccontextmanager
    async def writing(self, agent_id: str = "") -> AsyncIterator[Session]:
        """Wait for this task's turn to write, in order of arrival; what the block did is durable when it has ended.

        Of one agent only AGENT_UNITS wait at once for that: others come behind so many, not behind all that it sends.
        """
        async with self._agents.of(agent_id) if agent_id else nullcontext(), self._turn:
            await self._make_way()
            session = Session(self._writer, "BEGIN IMMEDIATE", self._limiter, self.file, self._writing)
            try:
                yield session
                begun = await session.keep()
            except BaseException:
                await session.abort()
                self._note_loss(session)
                raise
            commit = self._commit
            commit.units += begun
        if begun:
            # It shares its transaction with others now, and can no longer be given up.
            await in_any_case(partial(self._settle, commit))

    async def _make_way(self) -> None:
        """End a transaction that has taken its time, and rest where others have had no chance to write."""
        if self._commit.units and time.monotonic() - self._commit.since >= GROUP.total_seconds():
            await self._commit_units(self._commit)
        if not self._commit.units:
            self._held = max(self._held - (time.monotonic() - self._left), 0.0)
            if self._held > HELD.total_seconds():
                await anyio.sleep(REST.total_seconds())
                self._held = 0.0
            self._left = self._commit.since = time.monotonic()

    async def _settle(self, commit: _Commit) -> None:
        while not commit.done:
            with anyio.CancelScope() as waiting:
                commit.waiting.add(waiting)
                try:
                    await self._turn.acquire()
                finally:
                    commit.waiting.discard(waiting)
                try:
                    if not commit.done:
                        await self._commit_units(commit)
                finally:
                    self._turn.release()
        if commit.failure is not None:
            # Each unit has an error of its own to raise, with its own traceback.
            raise attrs.evolve(commit.failure) from commit.failure

    async def _commit_units(self, commit: _Commit) -> None:
        """Commit on behalf of all, which are told at once: their turns may be far away."""
        try:
            # Nobody has the next turn before the thread has ended: it would write into this transaction.
            await in_thread(partial(self._make_durable, commit), self._limiter)
        finally:
            # Whoever is cancelled before the thread begins leaves the commit to those who wait for it.
            if commit.done:
                self._held += time.monotonic() - commit.since
                self._left = time.monotonic()
                _tell(commit)

    def _make_durable(self, commit: _Commit) -> None:
        with self._writing:
            try:
                self._writer.execute("COMMIT")
                # What is written into a file that nobody finds any more is not durable.
                self.file.check()
            except sqlite3.Error as error:
                commit.failure = self.file.meaning(error)
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
            except StorageGone as error:
                commit.failure = error
            self._commit, commit.done = _Commit(), True
            if commit.failure is None:
                self._checkpoints.copy_if_large(self._writer)

    def _note_loss(self, session: Session) -> None:
        """Fail the units that ran before, if the session's failure undid them as well."""
        with self._writing:
            commit = self._commit
            if commit.units and session.failure is not None and not self._writer.in_transaction:
                self._commit, commit.done, commit.failure = _Commit(), True, session.failure
                _tell(commit)

    def close(self) -> None:
        """Close all connections; the last one to a file folds the log into it."""
        self.snapshots.close()
        self.lookups.close()
        self._checkpoints.close()
        self._writer.close()


def _tell(commit: _Commit) -> None:
    for scope in commit.waiting:
        scope.cancel()


@asynccontextmanager
async def open_connections(opener: Opener) -> AsyncIterator[Connections]:
    """Open the writing connection; the others follow when they are needed."""
    # One thread for each connection: whoever holds one never waits for a thread as well.
    limiter = anyio.CapacityLimiter(2 * READERS + 1)
    writer = await anyio.to_thread.run_sync(opener.writer, limiter=limiter)
    checkpoints = Checkpoints(opener.file.log_bytes, opener.guard)
    connections = Connections(
        ReaderPool(opener, limiter), ReaderPool(opener, limiter), opener.file, writer, limiter, checkpoints
    )
    try:
        yield connections
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(connections.close, limiter=limiter)
