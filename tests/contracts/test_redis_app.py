"""Two whole servers over one Redis."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import attrs
import pytest

from tests.contracts.ollama_double import OllamaDouble, ollama_double
from tests.servers.redis import PASSWORD, QUOTED, RedisProcess, redis_process
from tmws_adapters.bootstrap import Parts, begun, open_parts
from tmws_adapters.onnx.inference import LoadedModel
from tmws_adapters.settings import Settings, load_settings
from tmws_core.app import App
from tmws_core.messages.memory import CreateMemory
from tmws_core.messages.search import SearchMemories
from tmws_core.messages.system import HealthCheck
from tmws_core.ports.limits import Rate

pytestmark = pytest.mark.anyio


@attrs.frozen
class Server:
    app: App
    parts: Parts
    settings: Settings

    async def search(self, query: str) -> None:
        found = await self.app.call(self.settings.agent(), SearchMemories(query=query))
        assert found.results
        assert not found.degraded

    async def health(self) -> tuple[str, str, str]:
        report = await self.app.call(self.settings.operator(), HealthCheck())
        redis = report.components["redis"]
        return report.status, redis.status, redis.reason or ""


@pytest.fixture
def ollama() -> Iterator[OllamaDouble]:
    with ollama_double() as double:
        yield double


@asynccontextmanager
async def open_servers(
    url: str, ollama: OllamaDouble | None, tmp_path: Path, *names: str
) -> AsyncIterator[list[Server]]:
    """Open servers over an Ollama, or with the bundled model."""
    embedder = {"TMWS_OLLAMA_BASE_URL": ollama.url} if ollama else {}
    async with AsyncExitStack() as stack:
        servers = []
        for name in names:
            settings = load_settings(
                {"TMWS_HOME": str(tmp_path / name), "TMWS_REDIS_URL": url, **embedder}, dotenv=None
            )
            parts = await stack.enter_async_context(open_parts(settings))
            app = await stack.enter_async_context(begun(settings, parts))
            await app.call(settings.agent(), CreateMemory(content="The cat sleeps."))
            servers.append(Server(app, parts, settings))
        yield servers


async def test_a_query_is_embedded_once_for_all_servers(
    redis_server: RedisProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_server.send("FLUSHALL")
    async with open_servers(redis_server.url, None, tmp_path, "one", "other") as (one, other):
        await one.search("Where is the cat?")
        with monkeypatch.context() as without:
            without.delattr(LoadedModel, "vector")
            await other.search("Where is the cat?")
            with pytest.raises(AttributeError, match="vector"):
                await other.search("Where is the dog?")
        assert await one.health() == ("healthy", "up", "")


async def test_a_query_that_ollama_embedded_is_for_its_server_alone_as_other_weights_may_have_answered(
    redis_server: RedisProcess, ollama: OllamaDouble, tmp_path: Path
) -> None:
    redis_server.send("FLUSHALL")
    right = ollama.vectors
    async with open_servers(redis_server.url, ollama, tmp_path, "one", "other") as (one, other):
        ollama.vectors = lambda texts: [row[::-1] for row in right(texts)]
        await one.search("Where is the cat?")
        ollama.vectors = right
        for server, times in ((one, 1), (other, 2)):
            await server.search("Where is the cat?")
            assert sum("Where is the cat?" in str(each.body) for each in ollama.asked("/api/embed")) == times
        assert one.parts.redis
        assert await one.parts.redis.server.command("KEYS", "tmws:cache:*") == []


async def test_limits_are_those_of_all_servers(
    redis_server: RedisProcess, ollama: OllamaDouble, tmp_path: Path
) -> None:
    redis_server.send("FLUSHALL")
    rate = Rate(requests=3, seconds=60)
    async with open_servers(redis_server.url, ollama, tmp_path, "one", "other") as (one, other):
        waits = [await server.parts.limiter.take("agent:ana", rate) for server in (one, other, one, other)]
        assert waits[:3] == [0, 0, 0]
        assert waits[3] > 0


async def test_a_vector_of_another_size_is_not_believed(redis_server: RedisProcess, tmp_path: Path) -> None:
    redis_server.send("FLUSHALL")
    async with open_servers(redis_server.url, None, tmp_path, "one", "other") as (one, other):
        await one.search("Where is the cat?")
        assert one.parts.redis
        (key,) = await one.parts.redis.server.command("KEYS", "tmws:cache:*")
        await one.parts.redis.server.command("SET", key, b"abc")
        await other.search("Where is the cat?")


async def test_without_redis_a_server_starts_and_works_and_says_so(
    ollama: OllamaDouble, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with redis_process({"requirepass": PASSWORD}) as redis:
        redis.stop()
        async with open_servers(redis.url, ollama, tmp_path, "one") as (one,):
            await one.search("Where is the cat?")
            status, component, reason = await one.health()
            assert (status, component) == ("degraded", "down")
            assert "rate limits count in it only" in reason
            assert "Start Redis" in reason
            redis.start()
            assert one.parts.redis
            with anyio.fail_after(60):
                await one.parts.redis.server.up()
            assert (await one.health())[:2] == ("healthy", "up")
            shown = f"{caplog.text} {one.settings!r} {one.parts!r} {reason}"
            assert not [secret for secret in (PASSWORD, QUOTED) if secret in shown]
