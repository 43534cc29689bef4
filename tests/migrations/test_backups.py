"""The copy of a SQLite file that is made before its schema changes."""

import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.contracts.stores import open_at
from tests.migrations.former import TEXT, fill
from tests.migrations.places import REVISIONS, go, standing
from tests.migrations.test_sqlite import alembic
from tests.servers.disk import mounted
from tests.shells.traced import STRACE
from tmws_adapters.migrations import HEAD
from tmws_adapters.migrations.backup import KEPT, backups
from tmws_adapters.migrations.runner import downgrade, upgrade
from tmws_adapters.sqlite import open_sqlite
from tmws_core.errors import SchemaDirty, StorageCorrupt, StorageFull, StorageUnavailable

pytestmark = pytest.mark.anyio

MEBIBYTE = 1024 * 1024


@pytest.fixture
def former(tmp_path: Path) -> Path:
    """A store of the third schema that holds a memory, with a log beside it as a process leaves it that was killed."""
    path = tmp_path / "tmws.db"
    go(str(path), "0003")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    fill(str(path), "0003")
    return path


def contents(path: Path) -> list[str]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [text for (text,) in connection.execute("SELECT content FROM memories_v2")]


def drafts(path: Path) -> list[str]:
    """Return what is left beside a database of copies that were not completed."""
    return [each.name for each in path.parent.iterdir() if ".partial" in each.name]


async def test_an_upgrade_copies_what_was_there_into_one_private_file(former: Path) -> None:
    done = upgrade(former)

    assert done.backup == former.with_name(f"tmws.db.before-{HEAD}")
    assert stat.S_IMODE(done.backup.stat().st_mode) == 0o600
    assert standing(str(done.backup)).revision == "0003"
    assert contents(done.backup) == [TEXT]
    assert backups(former) == [done.backup]
    assert standing(str(former)).revision == HEAD


async def test_the_copy_is_a_store_that_can_be_opened(former: Path, tmp_path: Path) -> None:
    done = upgrade(former)
    assert done.backup is not None
    restored = tmp_path / "restored.db"
    shutil.copy(done.backup, restored)

    async with open_sqlite(restored) as store:
        assert (await store.storage.health()).memories == 1
        assert await store.storage.integrity() == []


async def test_opening_a_former_store_copies_it_as_well(former: Path) -> None:
    async with open_at(str(former)):
        pass

    assert [each.name for each in backups(former)] == [f"tmws.db.before-{HEAD}"]


def test_a_new_store_and_one_that_holds_nothing_are_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "tmws.db"
    assert upgrade(path).backup is None
    go(str(path), "0004")

    assert upgrade(path).backup is None
    assert upgrade(path).backup is None
    assert backups(path) == []


def test_only_the_newest_copies_stay(former: Path) -> None:
    made = [upgrade(former).backup, *(downgrade(former).backup for _ in range(4))]

    assert [each.name for each in made if each] == [
        f"tmws.db.before-{each}" for each in REVISIONS[: -len(made) - 1 : -1]
    ]
    assert backups(former) == made[::-1][:KEPT]
    assert contents(backups(former)[0]) == [TEXT]


def test_copies_with_other_names_are_somebody_elses(former: Path) -> None:
    theirs = [former.with_name(f"tmws.db.before-{name}") for name in ("holiday", "0003-of-mine", "x.unfinished")]
    for path in theirs:
        path.write_bytes(b"mine")
    (former.parent / "tmws.db.before-0002").mkdir()

    for change in (upgrade, downgrade, downgrade, downgrade):
        change(former)

    assert [path.read_bytes() for path in theirs] == [b"mine"] * len(theirs)
    assert len(backups(former)) == KEPT


def test_a_copy_of_the_same_name_is_replaced(former: Path) -> None:
    first = upgrade(former).backup
    assert first is not None
    downgrade(former)
    with closing(sqlite3.connect(former)) as connection, connection:
        connection.execute("UPDATE memories_v2 SET content = 'Another text'")

    assert upgrade(former).backup == first
    assert contents(first) == ["Another text"]


def test_the_alembic_command_makes_the_copy_as_well(former: Path) -> None:
    assert alembic(former, "upgrade", "+1").returncode == 0
    assert alembic(former, "upgrade", "head").returncode == 0
    assert [each.name for each in backups(former)] == [f"tmws.db.before-{HEAD}", "tmws.db.before-0004"]

    assert alembic(former, "downgrade", "-1").returncode == 0
    assert [each.name for each in backups(former)] == [f"tmws.db.before-{REVISIONS[-2]}", f"tmws.db.before-{HEAD}"]
    assert alembic(former, "current").returncode == 0
    assert len(backups(former)) == KEPT


def test_the_alembic_command_copies_nothing_where_nothing_changes(former: Path) -> None:
    assert alembic(former, "upgrade", "head").returncode == 0
    [copy] = backups(former)
    made = copy.stat()
    assert alembic(former, "upgrade", "head").returncode == 0
    assert [(each, each.stat().st_ino, each.stat().st_mtime_ns) for each in backups(former)] == [
        (copy, made.st_ino, made.st_mtime_ns)
    ]


def test_what_a_killed_upgrade_left_is_in_nobodys_way(former: Path) -> None:
    former.with_name(f".tmws.db.before-{HEAD}.{0:016x}.partial").write_bytes(b"half of a copy")
    # This is how earlier versions call it.
    for name in ("unfinished", "unfinished-journal"):
        former.with_name(f"tmws.db.before-0004.{name}").write_bytes(b"half of a copy")

    done = upgrade(former)

    assert drafts(former) == []
    assert [*former.parent.glob("*.before-*")] == backups(former) == [done.backup]


def test_a_failed_upgrade_leaves_the_file_and_its_copy(former: Path) -> None:
    with closing(sqlite3.connect(former)) as connection:
        connection.execute("CREATE TABLE audit_head (somebody TEXT)")

    with pytest.raises(SchemaDirty, match="audit_head already exists"):
        upgrade(former)

    assert standing(str(former)).revision == "0003"
    assert contents(former) == [TEXT]
    assert [contents(each) for each in backups(former)] == [[TEXT]]


def test_a_damaged_file_is_not_upgraded(former: Path) -> None:
    with closing(sqlite3.connect(former)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'memories_v2_scope'").fetchone()
    with former.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)

    with pytest.raises(StorageCorrupt, match="damaged"):
        upgrade(former)

    assert backups(former) == []
    assert drafts(former) == []


def test_a_directory_that_takes_no_file_stops_the_upgrade_before_it_begins(former: Path) -> None:
    former.with_name(f"tmws.db.before-{HEAD}").mkdir()

    with pytest.raises(StorageUnavailable, match="nothing was changed") as raised:
        upgrade(former)

    assert "beside the database" in raised.value.remedy
    assert standing(str(former)).revision == "0003"


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for a store, and for no copy of it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, MEBIBYTE):
        yield disk


def test_a_disk_without_room_for_the_copy_stops_the_upgrade_before_it_begins(full_disk: Path, former: Path) -> None:
    with closing(sqlite3.connect(former)) as connection, connection:
        connection.execute("UPDATE memory_history SET content = ?", ("long " * 120_000,))
    with closing(sqlite3.connect(former)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path = full_disk / "tmws.db"
    shutil.copy(former, path)

    with pytest.raises(StorageFull, match="nothing was changed") as raised:
        upgrade(path)

    assert "Free as much space" in raised.value.remedy
    assert standing(str(path)).revision == "0003"
    assert contents(path) == [TEXT]
    assert backups(path) == []
    assert drafts(path) == []


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_the_copy_and_its_name_are_on_the_disk_before_the_schema_changes(former: Path, tmp_path: Path) -> None:
    assert STRACE is not None
    log = tmp_path / "calls"
    upgrading = "import sys; from pathlib import Path; from tmws_adapters.migrations.runner import upgrade; "
    words = [sys.executable, "-c", f"{upgrading}upgrade(Path(sys.argv[1]))", str(former)]
    watched = "?fsync,?fdatasync,?rename,?renameat,?renameat2,?unlink,?unlinkat"
    subprocess.run([STRACE, "-f", "-y", "-e", f"trace={watched}", "-o", str(log), *words], check=True)

    calls = log.read_text(encoding="utf-8", errors="replace").splitlines()
    synced = [number for number, call in enumerate(calls) if "sync(" in call and f"/.tmws.db.before-{HEAD}" in call]
    [named] = [number for number, call in enumerate(calls) if "rename" in call and f"tmws.db.before-{HEAD}" in call]
    kept = [number for number, call in enumerate(calls) if "sync(" in call and f"<{former.parent}>" in call]
    changed = [number for number, call in enumerate(calls) if "sync(" in call and f"<{former}-wal>" in call]
    assert synced
    assert changed
    assert max(synced) < named < min(number for number in kept if number > named) < min(changed)
