"""A commit that SQLite refuses."""

from pathlib import Path

import pytest

from tests.contracts.builders import memory, new, scope
from tmws_adapters.sqlite import open_sqlite
from tmws_core.errors import StorageUnavailable
from tmws_core.ports.storage import NewMemory, Storage

pytestmark = pytest.mark.anyio


async def fail_at_the_commit(storage: Storage, lost: NewMemory) -> None:
    """Write a memory beside a share of no memory, which SQLite refuses at the commit only."""
    async with storage.write() as unit:
        await unit.changes.add([lost])
        session = unit.changes._session  # type: ignore[attr-defined]  # noqa: SLF001 - no port makes such a row
        await session.run(lambda connection: connection.execute("PRAGMA defer_foreign_keys = ON"))
        row = "INSERT INTO memory_shares (memory_id, agent_id, permission) VALUES ('x', 'y', 'read')"
        await session.run(lambda connection: connection.execute(row))


async def test_what_a_failed_commit_was_to_store_is_not_stored_by_the_next_one(tmp_path: Path) -> None:
    lost, kept = memory(), memory()
    async with open_sqlite(tmp_path / "tmws.db") as store:
        storage = store.storage
        with pytest.raises(StorageUnavailable):
            await fail_at_the_commit(storage, new(lost))
        async with storage.write() as unit:
            await unit.changes.add([new(kept)])
        async with storage.read() as snapshot:
            found = await snapshot.memories.page(scope(), after=None, limit=9, order="oldest")
    assert [each.id for each in found] == [kept.id]
