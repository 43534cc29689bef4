"""How connections to a file are opened, and what one for reading is to whoever uses it next."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from tests.contracts.builders import memory, new
from tests.contracts.steps import store
from tmws_adapters.sqlite import open_sqlite
from tmws_adapters.sqlite.connections import Opener, ReaderPool, open_connections
from tmws_adapters.sqlite.opening import BUSY_TIMEOUT
from tmws_core.errors import MemoryNotFound, StorageUnavailable

pytestmark = pytest.mark.anyio


class Mishap(Exception):
    """Something that goes wrong while rows are read."""


def opener_of(path: Path, busy_timeout: timedelta = BUSY_TIMEOUT) -> Opener:
    return Opener(path=path, busy_timeout=busy_timeout, synchronous="NORMAL")


def fail_half_way(connection: sqlite3.Connection) -> None:
    rows = connection.execute("SELECT id FROM memories_v2")
    next(rows)
    raise Mishap


def counted(connection: sqlite3.Connection) -> int:
    ((count,),) = connection.execute("SELECT count(*) FROM memories_v2").fetchall()
    return int(count)


async def look_in_vain(pool: ReaderPool, work: Callable[[sqlite3.Connection], object]) -> None:
    async with pool.session() as session:
        await session.run(work)
        raise MemoryNotFound(memory_id="x")


async def test_a_connection_that_has_failed_is_closed_and_another_one_serves_again(tmp_path: Path) -> None:
    path = tmp_path / "tmws.db"
    used: list[sqlite3.Connection] = []

    def fail(connection: sqlite3.Connection) -> None:
        used.append(connection)
        connection.execute("SELECT nothing")

    async with open_sqlite(path), open_connections(opener_of(path)) as connections:
        for failing, error in ((fail, StorageUnavailable), (used.append, MemoryNotFound)):
            with pytest.raises(error):
                await look_in_vain(connections.lookups, failing)
        async with connections.lookups.session() as session:
            await session.run(used.append)
    assert used[0] is not used[1] is used[2]


@attrs.define
class Clock:
    """A clock that goes on, and frees a file, while somebody sleeps."""

    holder: sqlite3.Connection
    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now > 1:
            self.holder.rollback()


@pytest.mark.parametrize(("patience", "opens"), [(2, True), (0.5, False)])
async def test_a_file_that_another_process_holds_is_waited_for_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, patience: float, opens: bool
) -> None:
    path = tmp_path / "tmws.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("CREATE TABLE held (x)")
        holder.execute("BEGIN IMMEDIATE")
        clock = Clock(holder)
        monkeypatch.setattr("tmws_adapters.sqlite.connections.time", clock)
        opener = opener_of(path, timedelta(seconds=patience))
        if opens:
            opener.writer().close()
        else:
            with pytest.raises(StorageUnavailable):
                opener.writer()
        assert holder.in_transaction is not opens
    assert clock.now == pytest.approx(1 if opens else patience, abs=0.1)


async def test_after_a_failure_half_way_the_next_one_reads_what_was_stored_since(tmp_path: Path) -> None:
    path = tmp_path / "tmws.db"
    async with open_sqlite(path) as opened, open_connections(opener_of(path)) as connections:
        await store(opened.storage, *(new(memory()) for _ in range(3)))
        # The error is held on to, and with it the statement.
        with pytest.raises(Mishap) as raised:
            async with connections.lookups.session() as session:
                await session.run(fail_half_way)
        await store(opened.storage, new(memory()))

        async with connections.lookups.session() as session:
            assert await session.run(counted) == 4
        assert raised.value.__traceback__
