"""Several servers on one PostgreSQL database: one of them embeds what waits."""

from pathlib import Path

import anyio
import pytest

from tests.contracts.ollama_double import ollama_double
from tests.licences import UNLIMITED
from tests.servers.postgres import PostgresServer, behind
from tmws_adapters.bootstrap import open_app, open_parts
from tmws_adapters.settings import load_settings
from tmws_core.messages.memory import CreateMemory
from tmws_core.services.indexing import Indexing

pytestmark = pytest.mark.anyio

HELD = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"


async def test_one_server_embeds_what_waits_and_another_one_once_that_is_killed(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    with postgres.database() as url, ollama_double() as ollama:
        given = {"TMWS_OLLAMA_BASE_URL": ollama.url, "TMWS_OLLAMA_MODEL": ollama.model, **UNLIMITED}
        settings = load_settings({"TMWS_HOME": str(tmp_path), "TMWS_DATABASE_URL": url, **given}, dotenv=None)
        ollama.stop()
        async with open_app(settings) as app:
            await app.call(settings.agent("test"), CreateMemory(content="The rose blooms."))
        ollama.start()
        async with open_parts(settings) as one, open_parts(settings) as other:
            indexing = Indexing(storage=other.storage, embedder=other.embedder, bus=other.bus)
            async with one.storage.embedding() as embeds:
                assert embeds
                assert await indexing.catch_up()
                assert (await other.storage.health()).unembedded == 1
                with behind(postgres.superuser_url(url.rpartition("/")[2])) as connection:
                    assert connection.execute(f"SELECT pg_terminate_backend(pid, 60000) FROM ({HELD})").fetchall()
                with anyio.fail_after(60):
                    assert await indexing.catch_up()
            assert (await other.storage.health()).unembedded == 0
