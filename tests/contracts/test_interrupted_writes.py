"""A write whose connection is lost is not repeated: it is told, and stored once or not at all."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.contracts.ollama_double import ollama_double
from tests.servers.postgres import behind
from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import Settings, load_settings
from tmws_core.app import App
from tmws_core.errors import StorageInterrupted, StorageOutcomeUnknown, TmwsError
from tmws_core.messages.memory import CreateMemory

pytestmark = pytest.mark.anyio

MISHAP = """
    CREATE SEQUENCE attempts;
    CREATE FUNCTION mishap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('attempts') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER mishap AFTER INSERT ON idempotency_keys DEFERRABLE INITIALLY {when}
        FOR EACH ROW EXECUTE FUNCTION mishap()
"""
"""Ends the connection of the first write only, in the middle of it or while it is committed; sequences count on."""


@pytest.fixture
def settings(url: str, tmp_path: Path) -> Iterator[Settings]:
    with ollama_double() as double:
        names = {"TMWS_HOME": str(tmp_path), "TMWS_OLLAMA_BASE_URL": double.url, "TMWS_DATABASE_URL": url}
        yield load_settings(names, dotenv=None)


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[App]:
    async with open_app(settings) as opened:
        yield opened


@pytest.mark.parametrize(("when", "error"), [("IMMEDIATE", StorageInterrupted), ("DEFERRED", StorageOutcomeUnknown)])
async def test_a_write_whose_connection_is_lost_is_tried_once(
    app: App, settings: Settings, url: str, when: str, error: type[TmwsError]
) -> None:
    caller = settings.agent()
    await app.call(caller, CreateMemory(content="Before."))
    with psycopg.connect(url) as connection:
        connection.execute(MISHAP.format(when=when).encode())
    request = CreateMemory(content="The cat sleeps.", idempotency_key="cat")

    with pytest.raises(error):
        await app.call(caller, request)

    with behind(url) as connection:
        assert connection.execute("SELECT last_value FROM attempts").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM memories_v2").fetchone() == (1,)
    await app.call(caller, request)
    with behind(url) as connection:
        assert connection.execute("SELECT count(*) FROM memories_v2").fetchone() == (2,)
