"""A disk that fills up under PostgreSQL, and is emptied again."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import sql

from tests.contracts.builders import memory, new
from tests.contracts.steps import get, store
from tests.servers.disk import mounted
from tests.servers.postgres import TEMPLATE, WORKER, own_server, room
from tmws_adapters.postgres import PostgresStore, open_postgres
from tmws_core.errors import StorageFull

pytestmark = pytest.mark.anyio

MEBIBYTE = 1024 * 1024
DISK, BALLAST = 48 * MEBIBYTE, 28 * MEBIBYTE
LONG = 64_000
"""Characters of a memory that hardly can be compressed."""


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own, of a few megabytes, that the server may write to."""
    # Not below the directories of pytest, which are for its user only.
    disk = Path(tempfile.mkdtemp(prefix="tmws-disk-"))
    try:
        with mounted(disk, DISK):
            (disk / "space").mkdir()
            shutil.chown(disk / "space", "nobody")
            yield disk
    finally:
        disk.rmdir()


@pytest.fixture
def url(small_disk: Path) -> Iterator[str]:
    """The URL of a database on it; the log of the server has room elsewhere."""
    with own_server(room()) as server:
        space = sql.Literal(str(small_disk / "space"))
        server.execute(sql.SQL("CREATE TABLESPACE small LOCATION {}").format(space))
        names = sql.Identifier(TEMPLATE), sql.Identifier(WORKER)
        server.execute(sql.SQL("CREATE DATABASE cramped TEMPLATE {} OWNER {} TABLESPACE small").format(*names))
        yield server.url("cramped")


async def fill(opened: PostgresStore) -> tuple[list[str], StorageFull]:
    """Store until that is refused, and return what was stored, and the refusal."""
    kept: list[str] = []
    while True:
        stored = memory(content=os.urandom(LONG // 2).hex())
        try:
            await store(opened.storage, new(stored))
        except StorageFull as error:
            return kept, error
        kept.append(stored.id)


async def test_a_full_disk_is_told_keeps_what_was_stored_and_needs_no_restart_when_there_is_room(
    small_disk: Path, url: str
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(BALLAST))
    async with open_postgres(url) as opened:
        kept, error = await fill(opened)
        for each in kept[-5:]:
            assert (await get(opened.storage, each)).id == each
        assert (await opened.storage.health()).memories == len(kept)
        ballast.unlink()
        await store(opened.storage, new(memory()))

        assert await opened.storage.integrity() == []
    assert kept
    assert "no space is left for the database (53100)" in error.message
    assert error.remedy == "Free space on the server's disk"
