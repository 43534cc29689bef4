"""What becomes of writes while the open file is deleted, moved or replaced under its process."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import attrs
import pytest

from tests.contracts.builders import memory, new
from tmws_adapters.sqlite import SqliteStore, open_sqlite
from tmws_adapters.sqlite.presence import OpenFile
from tmws_core.errors import StorageGone

pytestmark = pytest.mark.anyio


async def add_one(store: SqliteStore, meanwhile: Callable[[], None] = lambda: None) -> None:
    async with store.storage.write() as unit:
        await unit.changes.add([new(memory(content="a note"))])
        meanwhile()


def delete(path: Path) -> None:
    path.unlink()


def delete_all(path: Path) -> None:
    for each in list(path.parent.iterdir()):
        each.unlink()


def delete_directory(path: Path) -> None:
    shutil.rmtree(path.parent)


def move(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


def move_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))


def put_another_in_its_place(path: Path) -> None:
    other = path.with_name("other.db")
    shutil.copy(path, other)
    other.replace(path)


def delete_log(path: Path) -> None:
    path.with_name("tmws.db-wal").unlink()


def empty_log(path: Path) -> None:
    delete_log(path)
    path.with_name("tmws.db-wal").touch()


def delete_index_of_log(path: Path) -> None:
    path.with_name("tmws.db-shm").unlink()


FAULTS = [
    delete,
    delete_all,
    delete_directory,
    move,
    move_directory,
    put_another_in_its_place,
    delete_log,
    empty_log,
    delete_index_of_log,
]


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_write_is_acknowledged_once_nobody_would_find_it(
    tmp_path: Path, fault: Callable[[Path], None]
) -> None:
    path = tmp_path / "home" / "tmws.db"
    async with open_sqlite(path) as store:
        await add_one(store)
        fault(path)

        for _ in range(2):
            with pytest.raises(StorageGone) as raised:
                await add_one(store)
            assert raised.value.remedy
        with pytest.raises(StorageGone):
            await store.storage.health()


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_write_that_was_under_way_is_not_acknowledged_either(
    tmp_path: Path, fault: Callable[[Path], None]
) -> None:
    path = tmp_path / "home" / "tmws.db"
    async with open_sqlite(path) as store:
        with pytest.raises(StorageGone):
            await add_one(store, partial(fault, path))


async def test_of_writes_that_share_a_commit_each_is_told(tmp_path: Path) -> None:
    path = tmp_path / "home" / "tmws.db"
    told: list[StorageGone] = []

    async def write(store: SqliteStore) -> None:
        try:
            await add_one(store, partial(path.unlink, missing_ok=True))
        except StorageGone as error:
            told.append(error)

    async with open_sqlite(path) as store, anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(write, store)

    assert len(set(map(id, told))) == 4


async def test_reading_goes_on_where_nothing_can_be_stored(tmp_path: Path) -> None:
    path = tmp_path / "home" / "tmws.db"
    async with open_sqlite(path) as store:
        await add_one(store)
        assert await store.storage.changes() > 0
        delete_directory(path)

        assert await store.storage.changes() > 0


@pytest.mark.parametrize("fault", FAULTS)
async def test_who_opens_a_connection_is_told_why_nothing_can_be_read(
    tmp_path: Path, fault: Callable[[Path], None]
) -> None:
    path = tmp_path / "home" / "tmws.db"
    async with open_sqlite(path) as store:
        await add_one(store)
        fault(path)

        with pytest.raises(StorageGone):
            await store.storage.changes()


async def test_statements_that_fail_for_want_of_the_log_say_so(tmp_path: Path) -> None:
    path = tmp_path / "home" / "tmws.db"
    async with open_sqlite(path) as store:
        await store.storage.changes()
        await add_one(store)
        os.truncate(path.with_name("tmws.db-wal"), 0)
        delete_log(path)

        with pytest.raises(StorageGone):
            await store.storage.changes()


async def test_nothing_is_read_from_a_file_that_was_put_in_the_place_of_the_open_one(tmp_path: Path) -> None:
    path = tmp_path / "home" / "tmws.db"
    async with open_sqlite(path) as store:
        put_another_in_its_place(path)

        with pytest.raises(StorageGone):
            await store.storage.changes()


async def test_a_file_that_was_put_back_is_written_to_again(tmp_path: Path) -> None:
    path = tmp_path / "home" / "tmws.db"
    async with open_sqlite(path) as store:
        await add_one(store)
        move_directory(path)
        with pytest.raises(StorageGone):
            await add_one(store)

        await anyio.Path(tmp_path / "moved").rename(path.parent)
        await add_one(store)

        assert (await store.storage.health()).memories == 2


@attrs.frozen
class Links:
    """A path that leads to a file through symbolic links."""

    path: Path
    real: Path


@pytest.fixture(params=["the file", "its directory", "both"])
def links(tmp_path: Path, request: pytest.FixtureRequest) -> Links:
    real, named = tmp_path / "real", tmp_path / "named"
    real.mkdir()
    (real / "kept.db").touch()
    match request.param:
        case "the file":
            named.mkdir()
            (named / "tmws.db").symlink_to(real / "kept.db")
        case "its directory":
            (real / "kept.db").rename(real / "tmws.db")
            named.symlink_to(real)
            return Links(named / "tmws.db", real / "tmws.db")
        case _:
            (real / "tmws.db").symlink_to("kept.db")
            named.symlink_to(real)
    return Links(named / "tmws.db", real / "kept.db")


async def test_links_lead_to_a_store_as_a_path_does(links: Links) -> None:
    async with open_sqlite(links.path) as store:
        await add_one(store)
        assert links.real.with_name(f"{links.real.name}-wal").exists()
        await add_one(store)
        assert (await store.storage.health()).memories == 2


async def test_links_that_follow_a_directory_to_its_new_place_are_followed(links: Links, tmp_path: Path) -> None:
    async with open_sqlite(links.path) as store:
        await add_one(store)
        await anyio.Path(tmp_path / "real").rename(tmp_path / "moved")
        with pytest.raises(StorageGone):
            await add_one(store)
        await anyio.Path(tmp_path / "real").symlink_to(tmp_path / "moved")

        await add_one(store)


async def test_link_that_leads_elsewhere_is_noticed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        async with open_sqlite(tmp_path / name / "tmws.db"):
            pass
    link = tmp_path / "home"
    link.symlink_to("one")
    async with open_sqlite(link / "tmws.db") as store:
        link.unlink()
        link.symlink_to("two")

        with pytest.raises(StorageGone):
            await add_one(store)


async def test_a_store_with_a_relative_path_stays_where_it_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_sqlite(Path("tmws.db")) as store:
        await add_one(store)
        (tmp_path / "elsewhere").mkdir()
        os.chdir(tmp_path / "elsewhere")

        await add_one(store)
        async with store.storage.read() as snapshot:
            assert await snapshot.agents.count() == 0


async def test_a_link_that_is_set_to_the_new_place_of_its_directory_is_followed(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    link = tmp_path / "home"
    link.symlink_to("one")
    async with open_sqlite(link / "tmws.db") as store:
        await add_one(store)
        await anyio.Path(tmp_path / "one").rename(tmp_path / "two")
        link.unlink()
        link.symlink_to("two")

        await add_one(store)


def test_a_file_that_is_replaced_while_it_is_opened_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "tmws.db"
    path.touch()
    (tmp_path / "new.db").touch()
    made: list[sqlite3.Connection] = []

    def connect() -> sqlite3.Connection:
        made.append(sqlite3.connect(path))
        if len(made) == 1:
            (tmp_path / "new.db").replace(path)
        return made[-1]

    file = OpenFile.at(path)
    assert file.opened(connect) is made[1]
    file.check()
    made[1].close()
