"""What a PostgreSQL store says when the URL, the server or the database is not as it should be, and how it recovers."""

import traceback
from datetime import UTC, datetime, timedelta

import anyio
import attrs
import psycopg
import pytest
from psycopg import sql

from tests.contracts.builders import EVERYTHING, memory, new, scope
from tests.contracts.steps import get, store
from tests.servers.postgres import GUARDED, PASSWORD, WORKER, PostgresServer, behind, free_port, own_server
from tmws_adapters.migrations.connecting import connected_server
from tmws_adapters.postgres import open_postgres
from tmws_adapters.postgres.errors import MEANINGS, PART, storage_error
from tmws_adapters.postgres.opening import check_server, check_vector
from tmws_adapters.postgres.upkeep import PostgresUpkeep
from tmws_core.errors import SchemaTooNew, StorageBusy, StorageReadOnly, StorageUnavailable, TmwsError
from tmws_core.ports.storage import Storage

pytestmark = pytest.mark.anyio

MOMENT = timedelta(milliseconds=300)


async def refusal(url: str) -> TmwsError:
    """Return why a store cannot be opened; the error must name part and remedy, and no password."""
    with pytest.raises(TmwsError) as raised:
        async with open_postgres(url):
            pass
    error = raised.value
    assert error.problem.startswith(f"{PART}: ")
    assert error.remedy
    assert PASSWORD not in "".join(traceback.format_exception(error))
    return error


async def test_a_url_that_is_none_is_refused() -> None:
    error = await refusal(f"postgresql://tmws:{PASSWORD}@127.0.0.1:port/tmws")

    assert "the URL is malformed" in error.message


@pytest.mark.parametrize(("option", "name"), [("pgbouncer", "parameter pgbouncer"), (PASSWORD, "of such a name")])
async def test_an_unknown_option_in_the_url_is_refused(option: str, name: str) -> None:
    error = await refusal(f"postgresql://127.0.0.1/tmws?{option}=red")

    assert "the URL is malformed" in error.message
    assert name in error.message


async def test_an_unknown_host_is_told() -> None:
    assert "the host is unknown" in (await refusal(f"postgresql://tmws:{PASSWORD}@host.invalid/tmws")).message


async def test_a_port_at_which_nobody_listens_is_told() -> None:
    error = await refusal(f"postgresql://tmws:{PASSWORD}@127.0.0.1:{free_port()}/tmws")

    assert "nobody listens" in error.message


async def test_a_wrong_password_is_told_and_never_shown(postgres: PostgresServer) -> None:
    error = await refusal(postgres.url("postgres", user=GUARDED, password=PASSWORD.upper()))

    assert "refused the user or its password" in error.message
    assert PASSWORD.upper() not in "".join(traceback.format_exception(error))


async def test_an_unknown_user_is_told(postgres: PostgresServer) -> None:
    assert "refused the user" in (await refusal(postgres.url("postgres", user="nobody-here"))).message


async def test_a_database_that_does_not_exist_is_told(postgres: PostgresServer) -> None:
    assert "the database does not exist" in (await refusal(postgres.url("no_such_database"))).message


async def test_a_server_without_tls_is_told_where_tls_is_required(postgres: PostgresServer) -> None:
    assert "offers no TLS" in (await refusal(postgres.url("postgres", sslmode="require"))).message


async def test_a_user_that_cannot_create_the_extension_is_told(postgres: PostgresServer) -> None:
    with postgres.database("template0", extended=False) as url:
        error = await refusal(postgres.url(name_of(url), user=GUARDED, password=PASSWORD))

    assert isinstance(error, StorageReadOnly)
    assert "no right to create the extension vector" in error.message
    assert "CREATE EXTENSION vector" in error.remedy


async def test_a_user_without_rights_to_the_tables_is_told(postgres: PostgresServer, url: str) -> None:
    error = await refusal(postgres.url(name_of(url), user=GUARDED, password=PASSWORD))

    assert isinstance(error, StorageReadOnly)
    assert "lacks a right" in error.message


async def test_an_extension_that_is_too_old_is_told(postgres: PostgresServer, url: str) -> None:
    older = "SET allow_system_table_mods = on; UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'"
    postgres.execute(sql.SQL(older), name_of(url))

    assert "the extension vector is of version 0.7.4" in (await refusal(url)).message


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_database_that_cannot_hold_every_text_is_told(postgres: PostgresServer, encoding: str) -> None:
    name = sql.Identifier(f"of_{encoding.lower()}")
    postgres.execute(
        sql.SQL(
            "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C' STRATEGY FILE_COPY"
        ).format(name, sql.Identifier(WORKER), sql.Literal(encoding))
    )
    url = postgres.url(f"of_{encoding.lower()}")
    try:
        error = await refusal(url)
        with pytest.raises(StorageUnavailable) as raised:
            PostgresUpkeep(url).standing()
    finally:
        postgres.execute(sql.SQL("DROP DATABASE {}").format(name))

    assert f"the encoding {encoding}" in error.message
    assert "ENCODING 'UTF8' TEMPLATE template0" in error.remedy
    assert raised.value.message == error.message


async def test_an_extension_where_the_user_does_not_look_is_told_and_the_remedy_helps(postgres: PostgresServer) -> None:
    with postgres.database("template0", extended=False) as url:
        postgres.execute(sql.SQL("CREATE SCHEMA more; CREATE EXTENSION vector SCHEMA more"), name_of(url))
        error = await refusal(url)
        grant = error.remedy.partition("GRANT ")[2].partition(";")[0]
        option = error.remedy.partition("add ")[2].split()[0]
        postgres.execute(sql.SQL(f"GRANT {grant}"), name_of(url))

        async with open_postgres(f"{url}?{option}") as opened:
            assert (await opened.storage.health()).memories == 0

    assert "is in the schema more" in error.message
    assert f'ALTER ROLE "{WORKER}" SET search_path = "$user", public, more;' in error.remedy


async def test_how_a_database_writes_dates_is_no_matter(postgres: PostgresServer) -> None:
    stored = memory()
    with postgres.database("template0") as url:
        style = "ALTER DATABASE {} SET datestyle = 'German'"
        postgres.execute(sql.SQL(style).format(sql.Identifier(name_of(url))))
        async with open_postgres(url) as opened:
            await store(opened.storage, new(stored))
            assert (await get(opened.storage, stored.id)).created_at == stored.created_at
        with connected_server(url) as connection:
            assert connection.exec_driver_sql("SELECT now() > '2000-01-01', now()").one()[0]


def test_a_server_without_the_extension_is_refused() -> None:
    with pytest.raises(StorageUnavailable, match="has no extension vector"):
        check_vector(None, None)


def test_a_server_that_is_too_old_is_refused() -> None:
    check_server(170000)
    with pytest.raises(StorageUnavailable, match="PostgreSQL 16"):
        check_server(160011)


async def test_a_newer_schema_is_refused(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")

    assert isinstance(await refusal(url), SchemaTooNew)


async def test_a_database_that_takes_no_changes_is_told(postgres: PostgresServer, url: str) -> None:
    async with open_postgres(url) as opened:
        await store(opened.storage, new(memory()))
    name = sql.Identifier(name_of(url))
    postgres.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))

    async with open_postgres(url) as opened:
        with pytest.raises(StorageReadOnly, match="takes no changes"):
            await store(opened.storage, new(memory()))
        assert (await opened.storage.health()).memories == 1


@pytest.mark.parametrize("code", sorted(MEANINGS))
def test_each_error_of_the_server_has_one_meaning(postgres: PostgresServer, code: str) -> None:
    with psycopg.connect(postgres.dsn) as connection, pytest.raises(psycopg.Error) as raised:
        connection.execute(f"DO $$ BEGIN RAISE EXCEPTION 'secret words' USING ERRCODE = '{code}'; END $$")

    error = storage_error(raised.value)

    assert type(error) is MEANINGS[code].error
    assert MEANINGS[code].reason in error.message
    assert error.remedy
    assert code in error.message
    assert "secret" not in error.message


async def test_other_errors_of_the_server_are_faults(postgres: PostgresServer) -> None:
    with psycopg.connect(postgres.dsn) as connection, pytest.raises(psycopg.Error) as raised:
        connection.execute("SELECT 1 / 0")

    assert "refused a statement (22012)" in storage_error(raised.value).message


async def test_who_finds_all_connections_in_use_is_told_after_a_while(url: str) -> None:
    async with open_postgres(url, pool_size=1, max_overflow=0, patience=MOMENT) as opened:
        async with opened.storage.read():
            with pytest.raises(StorageBusy, match="all 1 connections") as raised:
                async with opened.storage.read():
                    pass
        assert "TMWS_DB_POOL_SIZE" in raised.value.remedy
        async with opened.storage.read() as snapshot:
            assert await snapshot.agents.count() == 0


async def test_who_waits_too_long_for_another_transaction_is_told(url: str) -> None:
    async with open_postgres(url, patience=MOMENT) as opened:
        async with await psycopg.AsyncConnection.connect(url) as other:
            await other.execute("LOCK TABLE memories_v2")
            with pytest.raises(StorageBusy):
                await store(opened.storage, new(memory()))
        await store(opened.storage, new(memory()))

        assert (await opened.storage.health()).memories == 1


async def test_a_unit_whose_connection_is_lost_stores_nothing_and_the_next_one_goes_on(url: str) -> None:
    kept = memory()

    async def lose(storage: Storage) -> None:
        async with storage.write() as unit:
            await unit.changes.add([new(memory())])
            disconnect(url)
            await unit.changes.add([new(memory())])

    async with open_postgres(url) as opened:
        with pytest.raises(StorageUnavailable):
            await lose(opened.storage)
        await store(opened.storage, new(kept))

        async with opened.storage.read() as snapshot:
            found = await snapshot.memories.page(scope(), after=None, limit=9, order="oldest")
    assert [each.id for each in found] == [kept.id]


async def test_connections_that_died_while_nobody_used_them_are_noticed(url: str) -> None:
    async with open_postgres(url) as opened:
        await store(opened.storage, new(memory()))
        disconnect(url)

        assert (await opened.storage.health()).memories == 1


async def test_a_store_goes_on_when_its_server_is_back() -> None:
    with own_server() as server, server.database() as url:
        async with open_postgres(url) as opened:
            stored = memory()
            await store(opened.storage, new(stored))
            server.stop()
            with pytest.raises(StorageUnavailable, match="nobody listens"):
                await opened.storage.health()
            with pytest.raises(StorageUnavailable):
                await store(opened.storage, new(memory()))
            server.start()

            assert (await get(opened.storage, stored.id)).id == stored.id
            await store(opened.storage, new(memory()))


async def test_a_statement_that_is_cancelled_leaves_its_connection_usable(url: str) -> None:
    async with open_postgres(url, pool_size=1, max_overflow=0) as opened:
        async with await psycopg.AsyncConnection.connect(url) as other:
            await other.execute("LOCK TABLE memories_v2")
            with anyio.move_on_after(0.1) as waiting:
                await opened.storage.health()
            assert waiting.cancelled_caught

        with anyio.fail_after(60):
            assert (await opened.storage.health()).memories == 0


async def test_memories_of_this_month_have_a_partition_and_all_others_the_default_one(url: str) -> None:
    now = datetime.now(UTC)  # noqa: TID251 - the server makes partitions by its own clock
    old, recent = memory(created_at=now - timedelta(days=400)), memory(created_at=now)
    async with open_postgres(url) as opened:
        await store(opened.storage, new(old), new(recent))
        with behind(url) as connection:
            rows = connection.execute("SELECT id, tableoid::regclass::text FROM memories_v2").fetchall()
        async with opened.storage.write() as unit:
            found = {each: await unit.memories.get(each, EVERYTHING) for each in (old.id, recent.id)}
            await unit.changes.delete(found[recent.id])
        assert await opened.storage.integrity() == []

    assert dict(rows) == {old.id: "memories_v2_default", recent.id: f"memories_v2_{now:%Y_%m}"}


async def test_partitions_are_made_once_and_ahead(url: str) -> None:
    async with open_postgres(url):
        pass
    async with open_postgres(url):
        pass

    with psycopg.connect(url) as connection:
        names = connection.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'memories_v2'::regclass"
        ).fetchall()
    assert len(names) == 4


async def test_a_month_whose_memories_are_in_the_default_partition_gets_none(url: str) -> None:
    now = datetime.now(UTC)  # noqa: TID251 - as above
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS memories_v2_" + f"{now:%Y_%m}")
    async with open_postgres(url) as opened:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP TABLE memories_v2_" + f"{now:%Y_%m}")
        await store(opened.storage, new(memory(created_at=now)))

    async with open_postgres(url) as opened:
        assert (await opened.storage.health()).memories == 1
        await store(opened.storage, new(attrs.evolve(memory(), created_at=now)))
        assert await opened.storage.integrity() == []


def name_of(url: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])


def disconnect(url: str) -> None:
    """End all other connections to a database, as a failover or a proxy does."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
