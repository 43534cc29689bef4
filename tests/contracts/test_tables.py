"""Moving between two stores of either kind: what arrives, what is refused, and that nothing is forgotten."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contracts.builders import NOON, memory, new, vector
from tests.contracts.furnished import COMING, all_of, change, furnish
from tests.contracts.stores import STORES, new_place, open_at
from tests.servers.postgres import PostgresServer
from tests.stacks import change as change_rows
from tests.stacks import rows
from tmws_adapters.moving import Moved, open_move
from tmws_adapters.settings import Settings, load_settings
from tmws_adapters.sql.tables import TABLES
from tmws_core.domain.audit import AuditEvent
from tmws_core.domain.chain import FIRST_ID, Walk
from tmws_core.errors import ConfigurationError, MoveUnfinished, StorageBusy, StorageCorrupt, StorageUnavailable
from tmws_core.ports.models import ModelStanding

pytestmark = pytest.mark.anyio

DERIVED = {
    "agent_belongings": "kept by triggers",
    "alembic_version": "the same in both",
    "document_numbers": "counts; the last number is carried",
    "embeddings_former": "read as embeddings",
    "embeddings_next": "read as embeddings",
    "memory_changes": "counts of the target itself",
    "memory_edits": "of the source's own past",
    "memory_postings": "lexical entries",
    "memory_shares": "read with the memories",
    "memory_words": "lexical entries",
    "moved_from": "of the move itself",
    "schema_compatibility": "of the schema",
}
"""The tables that are not copied, and why."""

PARTS = re.compile(r"memories_fts.*|sqlite_.*|memories_v2_(default|\d{4}_\d\d)")
"""The names of tables that are parts of others."""


@pytest.fixture(params=STORES)
def source(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_if_asked: Callable[[], PostgresServer]
) -> Iterator[str]:
    (tmp_path / "source").mkdir()
    with new_place(request.param, tmp_path / "source", postgres_if_asked) as created:
        yield created


@pytest.fixture(params=STORES)
def target(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_if_asked: Callable[[], PostgresServer]
) -> Iterator[str]:
    (tmp_path / "target").mkdir()
    with new_place(request.param, tmp_path / "target", postgres_if_asked) as created:
        yield created


def settings(place: str) -> Settings:
    url = place if place.startswith("postgresql://") else f"sqlite:///{place}"
    return load_settings({"TMWS_DATABASE_URL": url}, dotenv=None)


async def move(source: str, target: str) -> Moved:
    async with open_move(settings(source), settings(target)) as moving:
        return await moving.run(lambda _position, _rows: None)


async def standing(place: str) -> ModelStanding:
    async with open_at(place) as store:
        return await store.models.standing()


async def chain(place: str) -> Walk:
    async with open_at(place) as store, store.storage.read() as snapshot:
        log = snapshot.audit_log
        pruned, signed = await log.checkpoints()
        walk = Walk(pruned.end, await log.end(), {signed.end.id: signed.end.hash})
        walk.go(await log.rows(FIRST_ID, 1000))
        walk.arrive()
    return walk


async def test_everything_arrives_and_the_store_is_sound(source: str, target: str) -> None:
    async with open_at(source) as store:
        memories = await furnish(store)

    moved = await move(source, target)

    assert moved.settled
    assert moved.rows == moved.written
    assert all(moved.rows.values())
    async with open_at(target) as store:
        assert await store.storage.integrity() == []
        assert await all_of(store) == memories
    assert await standing(target) == await standing(source)
    assert (await standing(target)).next is not None
    assert (await chain(target)).breach is None
    assert (await chain(target)).rows == (await chain(source)).rows > 0


async def test_a_way_back_leads_to_the_same_store(source: str, target: str, tmp_path: Path) -> None:
    async with open_at(source) as store:
        await furnish(store)
    there = await move(source, target)

    back = await move(target, str(tmp_path / "back.db"))

    assert back.digests == there.digests


async def test_a_second_move_brings_the_target_up_to_date(source: str, target: str) -> None:
    async with open_at(source) as store:
        await furnish(store)
    await move(source, target)
    async with open_at(source) as store:
        await change(store)
        memories = await all_of(store)

    moved = await move(source, target)

    assert 0 < moved.written["memories_v2"] < moved.rows["memories_v2"]
    assert moved.written["agents"] == 0
    if settings(source).uses_postgres == settings(target).uses_postgres:
        assert entries(source) == entries(target)
    async with open_at(target) as store:
        assert await store.storage.integrity() == []
        assert await all_of(store) == memories


def entries(place: str) -> list[tuple[object, ...]]:
    """Return what the lexical index holds, the words of the turns before included."""
    if settings(place).uses_postgres:
        return rows(settings(place), "SELECT document, word, frequency, tokens FROM memory_postings ORDER BY 1, 2")
    return rows(settings(place), "SELECT rowid, * FROM memories_fts ORDER BY 1")


async def test_a_change_of_the_model_follows(source: str, target: str) -> None:
    async with open_at(source) as store:
        await furnish(store)
    await move(source, target)
    async with open_at(source) as store, store.models.migration() as migration:
        await migration.prepare({each.document: vector(1, 2, 3) for each in await all_of(store)})
        assert await migration.switch(0)

    await move(source, target)

    assert await standing(target) == await standing(source)
    async with open_at(target) as store:
        assert await store.storage.integrity() == []
        assert await store.storage.model() == COMING
        async with store.models.migration() as migration:
            await migration.roll_back()
        assert await store.storage.integrity() == []


async def test_no_document_number_is_given_again(source: str, target: str) -> None:
    async with open_at(source) as store:
        memories = await furnish(store)
        async with store.storage.write() as unit:
            await unit.changes.delete(max(memories, key=lambda each: each.document))
    await move(source, target)

    added = memory()
    async with open_at(target) as store:
        async with store.storage.write() as unit:
            await unit.changes.add([new(added)])
        stored = next(each for each in await all_of(store) if each.id == added.id)

    assert stored.document > max(each.document for each in memories)


async def test_a_target_with_other_memories_is_refused_and_kept(source: str, target: str) -> None:
    async with open_at(target) as store:
        memories = await furnish(store, turns=3)
    async with open_at(source) as store:
        await furnish(store, turns=4)

    with pytest.raises(ConfigurationError, match="memories_v2"):
        await move(source, target)

    async with open_at(target) as store:
        assert await all_of(store) == memories


async def test_a_target_that_was_used_since_is_refused(source: str, target: str) -> None:
    async with open_at(source) as store:
        await furnish(store, turns=3)
    await move(source, target)
    async with open_at(target) as store, store.storage.write() as unit:
        await unit.changes.add([new(memory())])

    with pytest.raises(ConfigurationError, match="was used since"):
        await move(source, target)


async def test_the_target_of_another_move_is_refused(source: str, target: str, tmp_path: Path) -> None:
    async with open_at(source) as store:
        await furnish(store, turns=3)
    await move(source, target)
    async with open_at(str(tmp_path / "other.db")) as store:
        await furnish(store, turns=3)

    with pytest.raises(ConfigurationError, match="moved from"):
        await move(str(tmp_path / "other.db"), target)


async def test_an_unfinished_target_is_neither_opened_nor_moved_on(source: str, target: str, tmp_path: Path) -> None:
    async with open_at(source) as store:
        await furnish(store, turns=3)
    with pytest.raises(RuntimeError):
        await _break_off(source, target)

    with pytest.raises(MoveUnfinished, match="has not ended"):
        await standing(target)
    with pytest.raises(ConfigurationError, match="has not ended"):
        await move(target, str(tmp_path / "third.db"))
    assert (await move(source, target)).settled
    assert await standing(target) == await standing(source)


async def _break_off(source: str, target: str) -> None:
    def stop(_position: int, rows: int) -> None:
        if rows > 10:
            raise RuntimeError

    async with open_move(settings(source), settings(target)) as moving:
        await moving.run(stop)


async def test_what_somebody_changes_in_the_target_meanwhile_is_noticed(source: str, target: str) -> None:
    async with open_at(source) as store:
        await furnish(store)

    with pytest.raises(StorageCorrupt, match=r"agents has 3 rows .* 2 "):
        await _move_while(
            source, target, "INSERT INTO agents (id, namespace, created_at) VALUES ('x', 'y', '2026-01-01T00:00:00Z')"
        )


async def _move_while(source: str, target: str, sql: str) -> None:
    total = 0

    def disturb(_position: int, looked: int) -> None:
        if looked == total:
            change_rows(settings(target), sql)

    async with open_move(settings(source), settings(target)) as moving:
        total = await moving.total()
        await moving.run(disturb)


async def test_a_text_that_the_target_cannot_keep_is_named(tmp_path: Path, postgres: PostgresServer) -> None:
    source = str(tmp_path / "source.db")
    async with open_at(source) as store, store.storage.write() as unit:
        await unit.audit([AuditEvent(timestamp=NOON, event_type="auth.failed", agent_id="a\0b", details={})])

    with postgres.database() as target, pytest.raises(StorageUnavailable, match=r"row \(1,\) of security_audit_logs"):
        await move(source, target)


async def test_two_moves_to_one_target_do_not_meet(source: str, target: str) -> None:
    async with open_at(source) as store:
        await furnish(store, turns=3)

    async with open_move(settings(source), settings(target)):
        with pytest.raises(StorageBusy):
            await move(source, target)


async def test_a_source_that_is_not_there_is_not_made(target: str, tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="there is no store"):
        await move(str(tmp_path / "missing.db"), target)

    assert not (tmp_path / "missing.db").exists()


async def test_a_store_is_not_moved_to_itself(source: str) -> None:
    with pytest.raises(ConfigurationError, match="same store"):
        await move(source, source)


async def test_every_table_is_copied_or_derived(source: str) -> None:
    async with open_at(source):
        pass
    if settings(source).uses_postgres:
        found = rows(settings(source), "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    else:
        found = rows(settings(source), "SELECT name FROM sqlite_schema WHERE type = 'table'")

    names = {str(name) for (name,) in found}
    assert {name for name in names if not PARTS.fullmatch(name)} - DERIVED.keys() == {each.name for each in TABLES}


async def test_every_column_is_copied_or_derived(source: str) -> None:
    async with open_at(source):
        pass
    derived = {"memories_v2": {"audience"}, "embeddings": {"xid"}}
    for table in TABLES:
        columns = {name for name in table.columns if name != "memory_shares"}
        assert _columns(settings(source), table.name) - derived.get(table.name, set()) == columns


def _columns(store: Settings, table: str) -> set[str]:
    if store.uses_postgres:
        sql = "SELECT column_name FROM information_schema.columns WHERE table_name = ?"
    else:
        sql = "SELECT name FROM pragma_table_info(?)"
    return {str(name) for (name,) in rows(store, sql, table)}
