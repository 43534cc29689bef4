"""What a reading connection of a file is to whoever uses it next."""

import sqlite3
from pathlib import Path

import pytest

from tests.contracts.builders import memory, new
from tests.contracts.steps import store
from tmws_adapters.sqlite import open_sqlite
from tmws_adapters.sqlite.connections import Opener, open_connections
from tmws_adapters.sqlite.opening import BUSY_TIMEOUT

pytestmark = pytest.mark.anyio


class Mishap(Exception):
    """Something that goes wrong while rows are read."""


def fail_half_way(connection: sqlite3.Connection) -> None:
    rows = connection.execute("SELECT id FROM memories_v2")
    next(rows)
    raise Mishap


def counted(connection: sqlite3.Connection) -> int:
    ((count,),) = connection.execute("SELECT count(*) FROM memories_v2").fetchall()
    return int(count)


async def test_after_a_failure_half_way_the_next_one_reads_what_was_stored_since(tmp_path: Path) -> None:
    path = tmp_path / "tmws.db"
    opener = Opener(path=path, busy_timeout=BUSY_TIMEOUT, synchronous="NORMAL")
    async with open_sqlite(path) as opened, open_connections(opener) as connections:
        await store(opened.storage, *(new(memory()) for _ in range(3)))
        # The error is held on to, and with it the statement.
        with pytest.raises(Mishap) as raised:
            async with connections.lookups.session() as session:
                await session.run(fail_half_way)
        await store(opened.storage, new(memory()))

        async with connections.lookups.session() as session:
            assert await session.run(counted) == 4
        assert raised.value.__traceback__
