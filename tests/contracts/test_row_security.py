"""The second wall: PostgreSQL itself hides rows from a statement that forgets to ask who is reading."""

from collections.abc import AsyncIterator
from datetime import timedelta

import anyio
import attrs
import psycopg
import pytest
from psycopg import sql

from tests.contracts.builders import EVERYTHING, NOON, memory, new, used_key, vector
from tests.contracts.steps import get, replace, store
from tests.servers.postgres import PostgresServer, behind
from tmws_adapters.postgres import open_postgres
from tmws_adapters.postgres.connections import Connections, open_connections
from tmws_adapters.postgres.opener import Opener
from tmws_adapters.postgres.readers import ALL, audience_for
from tmws_core.domain.access import Visibility
from tmws_core.domain.audit import AuditEvent
from tmws_core.domain.memory import AccessLevel, Memory, Share, Uses

pytestmark = pytest.mark.anyio

ADA = Visibility("ada", "acme")

OF_MEMORIES = ("memory_history", "memory_shares", "memory_uses")
WALLED = {"memories_v2", *OF_MEMORIES, "memory_words", "idempotency_keys", "security_audit_logs"}
OPEN = {
    "agent_belongings",
    "agents",
    "alembic_version",
    "api_keys",
    "audit_checkpoints",
    "audit_head",
    "embedding_models",
    "embeddings",
    "license_clock",
    "memory_changes",
    "memory_edits",
    "memory_postings",
    "revoked_tokens",
    "schema_compatibility",
}
"""Tables without a wall; docs/explanation/access.md says of those that tell something why."""


@pytest.fixture
async def connections(url: str) -> AsyncIterator[Connections]:
    """Lend connections of the program, at most one at a time."""
    opener = Opener(url=url, statement_timeout=timedelta(seconds=30))
    async with open_connections(opener, pool_size=1, max_overflow=0, patience=timedelta(seconds=30)) as opened:
        yield opened


async def test_a_deleted_memory_leaves_no_row_behind_that_only_a_superuser_would_see(
    postgres: PostgresServer, url: str
) -> None:
    rose = memory(access_level=AccessLevel.SHARED, shared_with=(Share("bob"),))
    async with open_postgres(url) as opened:
        await store(opened.storage, new(rose))
        rose = await get(opened.storage, rose.id)
        changed = attrs.evolve(rose, content="Roses bloom again.", version=2)
        await replace(opened.storage, rose, new(changed))
        async with opened.storage.write() as unit:
            await unit.changes.add_uses({rose.id: Uses(3, NOON)})
        async with opened.storage.write() as unit:
            await unit.changes.delete(await unit.memories.get(rose.id, EVERYTHING))

    with psycopg.connect(postgres.superuser_url(url.rpartition("/")[2])) as superuser:
        left = {
            table: superuser.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchall()
            for table in (*OF_MEMORIES, "memories_v2", "memory_words", "embeddings")
        }
    assert set(map(str, left.values())) == {"[(0,)]"}


@pytest.fixture
def held(url: str) -> dict[str, Memory]:
    """Fill the store with memories of others, by how they are shared, and all that belongs to a memory."""
    eve = {"agent_id": "eve", "namespace": "globex"}
    levels = {
        "private": memory(**eve),
        "another team's": memory(**eve, access_level=AccessLevel.TEAM),
        "lent to bob": memory(**eve, access_level=AccessLevel.SHARED, shared_with=(Share("bob"),)),
        "lent to ada": memory(**eve, access_level=AccessLevel.SHARED, shared_with=(Share("ada"),)),
        "public": memory(**eve, access_level=AccessLevel.PUBLIC),
        "a colleague's": memory(agent_id="bob", access_level=AccessLevel.TEAM),
        "her own": memory(),
    }
    anyio.run(fill, url, [*levels.values()])
    return levels


async def fill(url: str, memories: list[Memory]) -> None:
    async with open_postgres(url) as opened:
        stored = [new(each, vector=vector(1, 2, 3, 4)) for each in memories]
        await store(opened.storage, *stored, keys=[used_key(each, f"key of {each.id}") for each in memories])
        for each in memories:
            former = await get(opened.storage, each.id)
            await replace(opened.storage, former, new(attrs.evolve(former, content=f"{each.id} anew", version=2)))
        async with opened.storage.write() as unit:
            await unit.changes.add_uses({each.id: Uses(1, NOON) for each in memories})
            await unit.audit([AuditEvent(timestamp=NOON, event_type="test", agent_id="eve", details={})])


def reading(url: str, *words: str) -> "psycopg.Connection":
    """Connect as the program's role and say who reads."""
    connection = psycopg.connect(url)
    connection.execute("SELECT set_config('tmws.audience', %s, false)", ("\n".join(words),))
    return connection


def name_of(url: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])


def rows(connection: "psycopg.Connection", table: str, column: str = "*") -> list[tuple[object, ...]]:
    query = sql.SQL("SELECT {} FROM {}").format(
        sql.SQL("*") if column == "*" else sql.Identifier(column), sql.Identifier(table)
    )
    return connection.execute(query).fetchall()


def ids(held: dict[str, Memory], *labels: str) -> set[tuple[object, ...]]:
    return {(held[label].id,) for label in labels}


def test_every_table_has_a_wall_that_holds_for_its_owner_or_is_known_to_have_none(url: str) -> None:
    with psycopg.connect(url) as connection:
        tables: dict[str, bool] = dict(
            connection.execute(
                """
                SELECT relname::text, relrowsecurity AND relforcerowsecurity FROM pg_class
                WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
                """
            ).fetchall()
        )

    partitions = {name for name in tables if name.startswith("memories_v2_")}
    assert {name for name, walled in tables.items() if walled} == WALLED | partitions
    assert {name for name, walled in tables.items() if not walled} == OPEN


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("table", sorted(WALLED))
def test_who_has_not_said_who_reads_sees_no_row(url: str, table: str) -> None:
    with behind(url) as connection:
        assert rows(connection, table)
    with psycopg.connect(url) as connection:
        assert rows(connection, table) == []


def test_a_question_without_a_condition_is_answered_with_what_its_agent_may_read(
    url: str, held: dict[str, Memory]
) -> None:
    seen = ids(held, "lent to ada", "public", "a colleague's", "her own")
    with reading(url, *audience_for(ADA)) as connection:
        assert set(rows(connection, "memories_v2", "id")) == seen
        assert set(rows(connection, "memory_history", "memory_id")) == seen
        assert set(rows(connection, "memory_uses", "memory_id")) == seen
        assert rows(connection, "memory_shares", "memory_id") == [(held["lent to ada"].id,)]
        assert rows(connection, "idempotency_keys", "key") == [(f"key of {held['her own'].id}",)]
        assert len(rows(connection, "memory_words")) == len(seen)
        assert rows(connection, "security_audit_logs") == []


def test_who_names_a_partition_sees_nothing_or_as_a_backup_does_everything(url: str, held: dict[str, Memory]) -> None:
    partitions = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'memories_v2'::regclass"
    with reading(url, *audience_for(ADA)) as connection:
        names = [name for (name,) in connection.execute(partitions).fetchall()]
        assert {name: rows(connection, name) for name in names} == {name: [] for name in names}
    with behind(url) as connection:
        assert sum(len(rows(connection, name)) for name in names) == len(held)
    assert len(names) == 4


def test_who_reads_a_memory_neither_changes_nor_deletes_it(url: str, held: dict[str, Memory]) -> None:
    with reading(url, *audience_for(ADA)) as connection:
        changed = connection.execute("UPDATE memories_v2 SET importance = 1 RETURNING id").fetchall()
        deleted = connection.execute("DELETE FROM memories_v2 RETURNING id").fetchall()

    assert set(changed) == set(deleted) == ids(held, "her own")


@pytest.mark.parametrize("table", ["memories_v2", "memory_shares", "memory_history", "idempotency_keys"])
def test_nobody_writes_a_row_of_another_owner(url: str, held: dict[str, Memory], table: str) -> None:
    stranger = {
        "agent_id": "eve",
        "memory_id": held["private"].id,
        "id": "new",
        "key": "new",
        "version": 9,
        "document": 99,
    }
    with behind(url) as connection:
        names = [name.name for name in connection.execute(f"SELECT * FROM {table}".encode()).description or ()]
    chosen = sql.SQL(", ").join(
        sql.Literal(stranger[name]) if name in stranger else sql.Identifier(name) for name in names
    )
    copy = sql.SQL("INSERT INTO {0} SELECT {1} FROM {0} LIMIT 1").format(sql.Identifier(table), chosen)

    with reading(url, *audience_for(ADA)) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(copy)
    with reading(url, ALL) as connection:
        assert connection.execute(copy).rowcount == 1


def test_an_owner_does_not_give_a_memory_away(url: str, held: dict[str, Memory]) -> None:
    with reading(url, *audience_for(ADA)) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("UPDATE memories_v2 SET agent_id = 'eve' WHERE id = %s", (held["her own"].id,))


def test_what_belongs_to_a_memory_goes_with_it_and_the_wall_stands_as_before(url: str, held: dict[str, Memory]) -> None:
    with reading(url, *audience_for(Visibility("eve", "void"))) as connection:
        before = rows(connection, "memories_v2", "id")
        connection.execute("DELETE FROM memories_v2 WHERE id = %s", (held["lent to bob"].id,))
        assert set(rows(connection, "memories_v2", "id")) == set(before) - ids(held, "lent to bob")
    with behind(url) as connection:
        left = {table: set(rows(connection, table, "memory_id")) for table in OF_MEMORIES}

    assert all(ids(held, "lent to bob").isdisjoint(each) for each in left.values())
    assert left["memory_shares"] == ids(held, "lent to ada")


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("words", [audience_for(ADA), [ALL]])
async def test_the_next_transaction_on_a_connection_sees_nothing_of_what_the_former_saw(
    connections: Connections, words: list[str]
) -> None:
    count = "SELECT pg_backend_pid(), count(*) FROM memories_v2"
    seen = []
    for lend in (connections.snapshot, connections.unit, connections.lookup):
        async with lend() as session:
            session.see(words)
            seen.append(await session.row(count))
        async with lend() as session:
            seen.append(await session.row(count))
    pids, counts = zip(*filter(None, seen), strict=True)

    assert len(set(pids)) == 1
    assert all(counts[0::2])
    assert not any(counts[1::2])


@pytest.mark.usefixtures("held")
async def test_a_session_sees_all_within_a_block_only(connections: Connections) -> None:
    async with connections.unit() as session:
        session.see(["agent:ada"])
        with session.seeing_all():
            everything = await session.row("SELECT count(*) FROM memories_v2")
        own = await session.row("SELECT count(*) FROM memories_v2")

    assert (everything, own) == ((7,), (2,))


@pytest.mark.usefixtures("held")
async def test_a_word_with_a_line_in_it_is_one_word(connections: Connections) -> None:
    async with connections.snapshot() as session:
        session.see(audience_for(Visibility(f"mallory\n{ALL}", f"void\n{ALL}")))

        assert await session.row("SELECT count(*) FROM memories_v2") == (1,)


@pytest.mark.usefixtures("held")
async def test_a_setting_of_the_database_opens_no_wall(
    postgres: PostgresServer, url: str, connections: Connections
) -> None:
    name = sql.Identifier(name_of(url))
    postgres.execute(sql.SQL("ALTER DATABASE {} SET tmws.audience = 'all:'").format(name))
    with psycopg.connect(url) as connection:
        assert rows(connection, "memories_v2")

    async with connections.snapshot() as session:
        assert await session.row("SELECT count(*) FROM memories_v2") == (0,)


async def test_a_role_that_passes_every_wall_is_told_of(postgres: PostgresServer, url: str) -> None:
    async with open_postgres(url) as opened:
        assert (await opened.storage.health()).caution is None
    async with open_postgres(postgres.superuser_url(name_of(url))) as opened:
        caution = (await opened.storage.health()).caution

    assert caution is not None
    assert "superuser" in caution.reason
    assert "CREATE ROLE" in caution.remedy


def test_the_index_over_readers_finds_the_rows_that_the_wall_leaves(url: str) -> None:
    with behind(url) as connection:
        connection.execute(
            """
            INSERT INTO memories_v2 (
                document, version, created_at, updated_at, importance, id, agent_id, namespace, access_level,
                memory_type, audience, content_hash, written_by, transport, tags, metadata, content
            )
            SELECT n, 1, '2020-01-01', '2020-01-01', 0.5, n, 'agent' || n % 1000, 'acme', 'private', 'semantic',
                ARRAY['agent:agent' || n % 1000, 'all:'], n, 'x', 'x', '{}', '{}', repeat('x', 500)
            FROM generate_series(1, 20000) AS n
            """
        )
        connection.execute("ANALYZE memories_v2")
    with reading(url, "agent:agent7", "team:void", "open:") as connection:
        plan = "\n".join(
            line for (line,) in connection.execute("EXPLAIN ANALYZE SELECT count(*) FROM memories_v2").fetchall()
        )

    assert "Bitmap Index Scan on memories_v2_default_audience_idx" in plan
    assert "Seq Scan on memories_v2_default" not in plan
