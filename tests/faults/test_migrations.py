"""Changing the embedding model with real processes: killed, doubled, overtaken and watched by others."""

import random
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import attrs
import pytest

from tests.contracts.ollama_double import OllamaDouble, hashed_vectors, ollama_double
from tests.shells.command import Command
from tests.shells.serving import http_server
from tests.stacks import FALLBACK, PRODUCTION, SOURCE, stacked
from tmws_adapters.bootstrap import open_app, open_parts
from tmws_adapters.settings import Settings, load_settings
from tmws_core.app import App
from tmws_core.messages.memory import CreateMemories, CreateMemory, DeleteMemory
from tmws_core.messages.search import SearchMemories, SearchMode

pytestmark = pytest.mark.anyio

TEXTS = 300
SECONDS = 60


@attrs.frozen
class Homes:
    """One store, the settings and commands of the model that it has, and of the one that it is to have."""

    settings: Settings
    command: Command
    old: OllamaDouble
    new: OllamaDouble

    def embedded_by(self, double: OllamaDouble) -> Command:
        return self.command.using(TMWS_OLLAMA_BASE_URL=double.url, TMWS_OLLAMA_MODEL=double.model)

    @property
    def target(self) -> Command:
        return self.embedded_by(self.new)

    def settings_of(self, double: OllamaDouble) -> Settings:
        return load_settings(
            stacked({"TMWS_HOME": str(self.command.home), **self.embedded_by(double).env}), dotenv=None
        )


def mirrored(texts: Sequence[str]) -> list[list[float]]:
    return [row[::-1] for row in hashed_vectors(texts)]


def texts_of(double: OllamaDouble) -> list[str]:
    return [text for request in double.asked("/api/embed") for text in request.body["input"]]


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[Homes]:
    with (
        ollama_double(model="hashes") as old,
        ollama_double(model="mirror", digest="other", vectors=mirrored) as new,
    ):
        command = Command(tmp_path)
        homes = Homes(load_settings({}, dotenv=None), command, old, new)
        yield attrs.evolve(homes, settings=homes.settings_of(old))


async def fill(app: App, settings: Settings) -> None:
    notes = tuple(CreateMemory(content=f"Note {number} of a long list.") for number in range(TEXTS))
    await app.call(settings.operator(), CreateMemories(memories=notes))


@contextmanager
def migration(homes: Homes, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    with homes.target.start("embeddings", "migrate", "--json", *arguments) as process:
        try:
            yield process
        finally:
            process.kill()


def finish(process: "subprocess.Popen[str]") -> None:
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err


async def check(homes: Homes, double: OllamaDouble) -> None:
    """Check that every memory has its vector of this model, and nothing else is left."""
    settings = homes.settings_of(double)
    async with open_app(settings) as app:
        request = SearchMemories(query="Note 7 of a long list.", mode=SearchMode.SEMANTIC, explain=True)
        found = await app.call(settings.operator(), request)
        assert found.degraded is None
        assert found.results[0].content == "Note 7 of a long list."
        assert found.results[0].similarity == pytest.approx(1.0, abs=1e-3)
    async with open_parts(settings) as parts:
        assert (await parts.storage.health()).unembedded == 0
        assert await parts.storage.integrity() == []
        assert (await parts.models.standing()).next is None


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_migration_that_is_killed_again_and_again_goes_on_and_repeats_little(homes: Homes, seed: int) -> None:
    chance = random.Random(seed)
    async with open_app(homes.settings) as app:
        await fill(app, homes.settings)
    kills = 4
    for _ in range(kills):
        deadly, lived = threading.Event(), chance.randint(1, 8)
        asked = len(homes.new.asked("/api/embed"))

        def fatal(
            texts: Sequence[str], asked: int = asked, lived: int = lived, deadly: threading.Event = deadly
        ) -> list[list[float]]:
            if len(homes.new.asked("/api/embed")) - asked > lived:
                deadly.set()
            return mirrored(texts)

        homes.new.vectors = fatal
        with migration(homes) as process:
            assert await anyio.to_thread.run_sync(deadly.wait, SECONDS)
            process.kill()

    homes.new.vectors = mirrored
    done = homes.target.ok("embeddings", "migrate", "--json").answer

    assert (done["switched"], done["embedded"], done["waiting"]) == (True, TEXTS, 0)
    notes = [text for text in texts_of(homes.new) if text.startswith("Note")]
    assert len(set(notes)) == TEXTS
    assert len(notes) <= TEXTS + kills * 2 * 64
    await check(homes, homes.new)


async def test_others_read_search_write_and_delete_with_the_old_model_until_the_switch(homes: Homes) -> None:
    settings, caller = homes.settings, homes.settings.operator()
    async with open_app(settings) as app:
        await fill(app, settings)
        with migration(homes, "--throttle", "300") as process:
            written: dict[str, str] = {}
            embedded: list[bool] = []
            while process.poll() is None:
                content = f"Written meanwhile, number {len(embedded)}."
                created = await app.call(caller, CreateMemory(content=content))
                found = await app.call(caller, SearchMemories(query=content, limit=5))
                assert created.memory_id in {hit.memory_id for hit in found.results}
                written[content] = created.memory_id
                embedded.append(created.embedding_generated)
                if len(embedded) % 10 == 0:
                    await app.call(caller, DeleteMemory(memory_id=written.pop(next(iter(written)))))
            finish(process)
        created = await app.call(caller, CreateMemory(content="Written after the switch."))
        assert not created.embedding_generated

    assert embedded == sorted(embedded, reverse=True)
    assert embedded.count(True) > 20
    homes.target.ok("embeddings", "migrate")
    target = homes.settings_of(homes.new)
    async with open_app(target) as app:
        await app.call(caller, CreateMemory(content="The embedder fits."))
        with anyio.fail_after(SECONDS):
            while homes.target.ok("embeddings", "status", "--json").answer["waiting"]:
                await anyio.lowlevel.checkpoint()
        for content, memory_id in [*written.items()][:: max(1, len(written) // 5)]:
            request = SearchMemories(query=content, mode=SearchMode.SEMANTIC, explain=True)
            assert (await app.call(caller, request)).results[0].memory_id == memory_id
    await check(homes, homes.new)


async def test_a_server_with_the_old_model_notices_the_switch_at_its_next_call(homes: Homes) -> None:
    async with open_app(homes.settings) as app:
        await fill(app, homes.settings)
    env = {"TMWS_OLLAMA_BASE_URL": homes.old.url, "TMWS_OLLAMA_MODEL": homes.old.model}
    with http_server(homes.command.home, **env) as server:
        before = server.call("search_memories", query="Note 7", mode="semantic").json()
        homes.target.ok("embeddings", "migrate")
        after = server.call("search_memories", query="Note 7", mode="semantic").json()
        created = server.call("create_memory", content="By the old server.").json()
        health = server.client.get("/health").json()
        homes.target.ok("embeddings", "migrate", "--rollback")
        back = server.call("search_memories", query="Note 7", mode="semantic").json()
        server.stop()

    assert (before["search_source"], back["search_source"]) == (SOURCE, SOURCE)
    assert after["search_source"] == FALLBACK
    assert "Restart TMWS with the embedder set to mirror" in after["degraded"][0]
    assert created["embedding_generated"] is False
    assert health["status"] == "degraded"
    assert [hit["memory_id"] for hit in before["results"]] == [hit["memory_id"] for hit in back["results"]]


async def test_a_second_migration_is_refused_while_one_runs_and_taken_up_when_that_was_killed(homes: Homes) -> None:
    async with open_app(homes.settings) as app:
        await fill(app, homes.settings)
    asked, answer = threading.Event(), threading.Event()

    def hesitant(texts: Sequence[str]) -> list[list[float]]:
        if any(text.startswith("Note") for text in texts):
            asked.set()
            answer.wait(SECONDS)
        return mirrored(texts)

    homes.new.vectors = hesitant
    with migration(homes) as first:
        assert await anyio.to_thread.run_sync(asked.wait, SECONDS)
        refused = homes.target.run("embeddings", "migrate", "--json")
        rollback = homes.target.run("embeddings", "migrate", "--rollback")
        status = homes.target.ok("embeddings", "status", "--json").answer
        first.kill()
        answer.set()

    assert (refused.code, refused.answer["error"]["code"]) == (1, "migration_running")
    holder = "of the server" if PRODUCTION else f"process {first.pid} "
    assert holder in refused.answer["error"]["message"]
    assert (rollback.code, "tmws embeddings status" in rollback.err) == (1, True)
    assert (status["migration"]["model"]["name"], status["migration"]["missing"]) == ("mirror", TEXTS)
    assert homes.target.ok("embeddings", "migrate", "--json").answer["switched"]
    await check(homes, homes.new)
