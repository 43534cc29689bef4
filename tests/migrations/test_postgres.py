"""The schema's history on PostgreSQL: from nothing, step by step back and forth, and by many processes at once."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from tests.contracts.builders import memory, new, vector
from tests.contracts.steps import store
from tests.migrations.former import FORMER_TEXT, TEXT, fill
from tests.migrations.places import go, raw
from tests.servers.postgres import PostgresServer
from tmws_adapters.migrations import HEAD
from tmws_adapters.migrations.runner import upgrade_server
from tmws_adapters.postgres import open_postgres
from tmws_core.errors import SchemaDirty, SchemaTooNew

ROOT = Path(__file__).parents[2]


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database() as created:
        yield created


@pytest.fixture
def bare(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database("template0") as created:
        yield created


def alembic(url: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "alembic", *arguments]
    environment = os.environ | {"TMWS_DATABASE_URL": url}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def schema(url: str) -> list[tuple[object, ...]]:
    """Return the columns, indexes, triggers and functions of a database."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            """
            SELECT 'column', table_name, column_name, data_type || coalesce(column_default, '') || is_nullable
            FROM information_schema.columns WHERE table_schema = 'public'
            UNION ALL SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
            UNION ALL SELECT 'trigger', event_object_table, trigger_name, action_statement
            FROM information_schema.triggers WHERE trigger_schema = 'public'
            ORDER BY 1, 2, 3, 4
            """
        ).fetchall()


def test_the_alembic_command_creates_and_names_the_schema(bare: str) -> None:
    upgraded = alembic(bare, "upgrade", "head")
    current = alembic(bare, "current")

    assert (upgraded.returncode, upgraded.stderr) == (0, "")
    assert current.stdout.split() == [HEAD, "(head)"]


def waiting(url: str) -> bool:
    """Tell whether somebody waits for a lock."""
    with psycopg.connect(url) as connection:
        sql = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return connection.execute(sql).fetchone() is not None


def test_an_upgrade_lets_an_older_server_finish_what_it_is_writing(url: str) -> None:
    go(url, "0004")
    fill(url, "0004")
    go(url, "0009")
    with psycopg.connect(url) as writer, ThreadPoolExecutor() as threads:
        writer.execute("SET LOCAL tmws.audience = 'all:'")
        writer.execute("UPDATE memories_v2 SET content = 'The rose is red.'")
        upgrade = threads.submit(upgrade_server, url)
        while not waiting(url) and not upgrade.done():
            pass
        writer.execute("DELETE FROM memory_shares")
        writer.execute("INSERT INTO memory_history SELECT id, 2, %s, now(), now(), 'ada' FROM memories_v2", (TEXT,))
        writer.commit()
        assert upgrade.result(timeout=60).after == HEAD
    with raw(url) as connection:
        owned = "SELECT bytes FROM agent_belongings WHERE agent_id = 'ada'"
        size = len("The rose is red.") + len('{"mood":"glad"}') + len(FORMER_TEXT) + len(TEXT)
        assert connection.execute(owned).fetchone() == (size,)


def test_while_texts_are_hashed_again_readers_go_on(url: str) -> None:
    go(url, "0004")
    fill(url, "0004")
    go(url, "0007")
    with raw(url) as connection:
        connection.execute("UPDATE memories_v2 SET content_hash = 'that of the folded text'")
    with psycopg.connect(url) as holder, ThreadPoolExecutor() as threads:
        holder.execute("SET LOCAL tmws.audience = 'all:'")
        holder.execute("SELECT FROM memories_v2 FOR UPDATE")
        upgrade = threads.submit(upgrade_server, url)
        # It hashes the row once it is let go of.
        while not waiting(url) and not upgrade.done():
            pass
        with raw(url) as reader:
            reader.execute("SET lock_timeout = '1s'")
            assert reader.execute("SELECT content FROM memories_v2").fetchall() == [(TEXT,)]
        holder.commit()
        assert upgrade.result(timeout=60).after == HEAD
    with raw(url) as connection:
        digest = hashlib.sha256(TEXT.encode()).hexdigest()
        assert connection.execute("SELECT content_hash FROM memories_v2").fetchone() == (digest,)


@pytest.mark.anyio
@pytest.mark.parametrize("revision", ["0010", "0007"])
async def test_while_entries_of_ended_turns_are_written_again_readers_go_on(url: str, revision: str) -> None:
    turns = [memory(content=text, session_id="s", sequence=place) for place, text in enumerate(("apples", "pears"))]
    async with open_postgres(url) as opened:
        await store(opened.storage, *map(new, turns))
    go(url, revision)
    with raw(url) as connection:
        connection.execute("UPDATE memories_v2 SET superseded_at = updated_at WHERE content = 'apples'")
    with psycopg.connect(url) as holder, ThreadPoolExecutor() as threads:
        holder.execute("SET LOCAL tmws.audience = 'all:'")
        holder.execute("SELECT FROM memory_words FOR UPDATE")
        upgrade = threads.submit(upgrade_server, url)
        while not waiting(url) and not upgrade.done():
            pass
        with raw(url) as reader:
            reader.execute("SET lock_timeout = '1s'")
            assert reader.execute("SELECT count(*) FROM memories_v2").fetchone() == (2,)
            assert reader.execute("SELECT count(*) FROM memory_shares").fetchone() == (0,)
        holder.commit()
        assert upgrade.result(timeout=60).after == HEAD


@pytest.mark.parametrize("revision", ["0003", "0002", "0001"])
def test_each_step_can_be_taken_back_and_made_again(bare: str, revision: str) -> None:
    upgrade_server(bare)
    newest = schema(bare)

    assert alembic(bare, "downgrade", revision).returncode == 0
    former = schema(bare)
    upgrade_server(bare)

    assert former != newest
    assert schema(bare) == newest


def test_processes_that_upgrade_at_once_all_find_it_done(bare: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda _: alembic(bare, "upgrade", "head"), range(4)))

    assert [(each.returncode, each.stderr) for each in done] == [(0, "")] * 4


def test_an_upgrade_of_the_newest_schema_changes_nothing(url: str) -> None:
    before = schema(url)

    upgrade_server(url)

    assert schema(url) == before


def test_a_failed_upgrade_leaves_the_database_as_it_was(bare: str) -> None:
    go(bare, "0003")
    with psycopg.connect(bare) as connection:
        connection.execute("CREATE TABLE audit_head (somebody text)")
    before = schema(bare)

    with pytest.raises(SchemaDirty, match='relation "audit_head" already exists') as raised:
        upgrade_server(bare)

    assert "tmws db check" in raised.value.remedy

    assert schema(bare) == before


def test_an_unknown_revision_is_a_newer_version(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(SchemaTooNew):
        upgrade_server(url)


@pytest.mark.anyio
async def test_a_store_of_a_former_schema_is_upgraded_with_what_it_holds(url: str) -> None:
    async with open_postgres(url) as opened:
        await store(opened.storage, new(memory(), vector=vector(1, 0, 0, 0)), new(memory()))
    assert alembic(url, "downgrade", "0003").returncode == 0

    async with open_postgres(url) as opened:
        assert (await opened.storage.health()).memories == 2
        assert await opened.storage.integrity() == []
