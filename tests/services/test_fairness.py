"""What one agent asks of the embedder, however much it is, keeps no other agent waiting."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import anyio
import anyio.lowlevel
import attrs
import pytest

from tests.contracts.ollama_double import OllamaDouble
from tests.services.conftest import World
from tmws_adapters.bootstrap import compose, open_parts
from tmws_adapters.settings import Settings
from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.embedding.store import OWN_CALLS, StoreEmbedder
from tmws_core.embedding.texts import PIECE
from tmws_core.messages.memory import CreateMemories, CreateMemory, UpdateMemory
from tmws_core.messages.search import SearchMemories
from tmws_core.ports.embedder import Embedder, EmbedderHealth

pytestmark = pytest.mark.anyio


@attrs.define(eq=False)
class Waiting:
    """An embedder, and before it a room in which whatever is "held" waits until it is let go."""

    inner: Embedder
    inside: int = 0
    let_go: anyio.Event = attrs.field(factory=anyio.Event)
    calls: list[str] = attrs.field(factory=list)

    @property
    def epoch(self) -> int | None:
        return self.inner.epoch

    async def passages(self, texts: Sequence[str]) -> list[Vector]:
        self.calls.append(" ".join(texts))
        await self._wait(self.calls[-1])
        return await self.inner.passages(texts)

    async def query(self, text: str) -> Vector:
        await self._wait(text)
        return await self.inner.query(text)

    async def familiarity(self, text: str) -> float:
        return await self.inner.familiarity(text)

    async def model(self) -> EmbeddingModel:
        return await self.inner.model()

    async def health(self) -> EmbedderHealth:
        return await self.inner.health()

    async def _wait(self, text: str) -> None:
        if "held" in text:
            self.inside += 1
            await self.let_go.wait()


@attrs.frozen
class Scene:
    world: World
    embedder: StoreEmbedder
    waiting: Waiting

    async def create(self, agent: str, content: str) -> bool:
        """Store a memory, and return whether it has a vector."""
        made = await self.world.app.call(self.world.agent(agent), CreateMemory(content=content))
        return made.embedding_generated

    async def search(self, agent: str, query: str) -> bool:
        """Search, and return whether that was by meaning, too."""
        return (await self.world.app.call(self.world.agent(agent), SearchMemories(query=query))).degraded is None

    async def behind(self, agent: str) -> None:
        """Wait until a call of an agent waits for those in the room."""
        queue = self.embedder.storing._queues[agent]  # noqa: SLF001 - nobody else asks how long it is
        with anyio.fail_after(60):
            while not queue.free.statistics().tasks_waiting:
                await anyio.lowlevel.checkpoint()

    async def full(self) -> None:
        """Wait until an agent has all its calls in the room."""
        with anyio.fail_after(60):
            while self.waiting.inside < OWN_CALLS:
                await anyio.lowlevel.checkpoint()


@pytest.fixture
async def scene(settings: Settings, ollama: OllamaDouble, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr("tmws_adapters.bootstrap.QUERY_TIMEOUT", timedelta(minutes=5))
    patient = attrs.evolve(settings, request_timeout=600.0)
    async with open_parts(patient) as parts:
        parts.embedder.inner = waiting = Waiting(parts.embedder.inner)
        yield Scene(World(compose(patient, parts), patient, ollama), parts.embedder, waiting)


async def test_texts_of_one_agent_take_turns_and_those_of_another_and_questions_do_not_wait(scene: Scene) -> None:
    app, athena = scene.world.app, scene.world.agent("athena")
    rose = await app.call(athena, CreateMemory(content="The rose blooms."))
    stored: list[bool] = []

    async def create(number: int) -> None:
        batch = CreateMemories(memories=(CreateMemory(content=f"held {number}"), CreateMemory(content=f"{number}")))
        stored.extend(each.embedding_generated for each in (await app.call(athena, batch)).results)

    async def update() -> None:
        changed = await app.call(athena, UpdateMemory(memory_id=rose.memory_id, content="held rose"))
        stored.append(changed.embedding_generated)

    async with anyio.create_task_group() as tasks:
        for number in range(OWN_CALLS):
            tasks.start_soon(create, number)
        await scene.full()
        tasks.start_soon(create, OWN_CALLS)
        tasks.start_soon(update)
        tasks.start_soon(scene.create, "athena", "held alone")
        assert await scene.create("hera", "The tulip blooms.")
        assert await scene.search("hera", "tulip")
        assert await scene.search("athena", "rose")
        await anyio.wait_all_tasks_blocked()
        assert scene.waiting.inside == OWN_CALLS
        scene.waiting.let_go.set()
    assert stored == [True] * (2 * (OWN_CALLS + 1) + 1)


async def test_a_text_of_an_agent_waits_for_no_more_than_a_piece_of_its_own_batches(scene: Scene) -> None:
    app, athena = scene.world.app, scene.world.agent("athena")

    async def create(name: str) -> None:
        texts = [f"held {name} {number}" for number in range(PIECE)] + [f"the longest of all in the batch {name}"]
        batch = CreateMemories(memories=tuple(CreateMemory(content=text) for text in texts))
        assert all(each.embedding_generated for each in (await app.call(athena, batch)).results)

    async with anyio.create_task_group() as tasks:
        for name in ("one", "two"):
            tasks.start_soon(create, name)
        await scene.full()
        tasks.start_soon(scene.create, "athena", "alone")
        await scene.behind("athena")
        scene.waiting.let_go.set()

    kinds = [kind for call in scene.waiting.calls for kind in ("held", "alone", "longest") if kind in call]
    # The one alone and the rest of the first batch have a turn at once: which of them comes first is not said.
    assert [*kinds[:2], *sorted(kinds[2:4]), *kinds[4:]] == ["held", "held", "alone", "longest", "longest"]


async def test_questions_of_one_agent_take_turns_and_those_of_another_and_texts_do_not_wait(scene: Scene) -> None:
    await scene.create("athena", "The rose blooms.")
    async with anyio.create_task_group() as tasks:
        for number in range(2 * OWN_CALLS):
            tasks.start_soon(scene.search, "athena", f"held {number}")
        await scene.full()
        assert await scene.search("hera", "rose")
        assert await scene.create("athena", "The tulip blooms.")
        await anyio.wait_all_tasks_blocked()
        assert scene.waiting.inside == OWN_CALLS
        tasks.cancel_scope.cancel()
