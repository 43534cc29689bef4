"""What one agent asks of the embedder, or is worked on in threads, however much it is, keeps no other agent waiting."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest

from tests.contracts.ollama_double import OllamaDouble
from tests.services.conftest import World
from tmws_adapters.bootstrap import compose, open_parts
from tmws_adapters.settings import Settings
from tmws_core import aside
from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.domain.memory import Memory
from tmws_core.domain.reranking import SecondLook
from tmws_core.domain.text import lexical_document
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


@attrs.define(eq=False)
class Room:
    """Before work in threads a room in which whatever is "held" waits until it is let go."""

    begun: list[str] = attrs.field(factory=list)
    let_go: threading.Event = attrs.field(factory=threading.Event)

    def before(self, text: str) -> None:
        self.begun.append(text)
        if "held" in text:
            self.let_go.wait()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let all go at the end of the block, however it ends: threads are not cancelled."""
        try:
            yield
        finally:
            self.let_go.set()

    async def until(self, met: Callable[[], bool]) -> None:
        with anyio.fail_after(60):
            while not met():
                await anyio.lowlevel.checkpoint()


@pytest.fixture
def room() -> Room:
    return Room()


def long(text: str) -> str:
    """Return a text that is worked on in a thread."""
    return f"{text} " + "word " * aside.SHORT


async def test_words_of_one_agent_are_made_in_turn_with_those_of_others(
    world: World, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(content: str) -> str:
        room.before(" ".join(content.split()[:2]))
        return lexical_document(content)

    monkeypatch.setattr("tmws_core.preparing.lexical_document", made)

    async def create(agent: str, *texts: str, key: str | None = None) -> None:
        memories = tuple(CreateMemory(content=text, idempotency_key=key) for text in texts)
        await world.app.call(world.agent(agent), CreateMemories(memories=memories))

    await create("hera", *(long(f"The rose {number}") for number in range(5)))
    room.begun.clear()
    async with anyio.create_task_group() as tasks:
        with room.held():
            for number in range(3):
                tasks.start_soon(create, "athena", long(f"held {number}"))
            await room.until(lambda: len(room.begun) == 1)
            await create("hera", "A tulip.", key="k")
            assert (await world.app.call(world.agent("hera"), SearchMemories(query="rose"))).results
            tasks.start_soon(create, "hera", long("hera 0"), long("hera 1"))
            threads = aside._threads.get()  # noqa: SLF001 - nobody else asks who waits
            await room.until(lambda: threads.one.statistics().tasks_waiting == 1)

    order = [text.split()[0] for text in room.begun if text != "A tulip."]
    assert order == ["held", "hera", "hera", "held", "held"]


async def test_who_waits_for_a_thread_holds_no_snapshot(
    world: World, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = SecondLook.order

    def held(self: SecondLook, hits: Sequence[Any], memories: Mapping[int, Memory], *rest: Any) -> list[Any]:
        room.before(" ".join(memory.content for memory in memories.values()))
        return order(self, hits, memories, *rest)

    monkeypatch.setattr(SecondLook, "order", held)
    texts = tuple(CreateMemory(content=long(f"held {number}")) for number in range(5))
    await world.app.call(world.agent("athena"), CreateMemories(memories=texts))
    await world.app.call(world.agent("hera"), CreateMemory(content="The rose blooms."))

    def users() -> int:
        threads = aside._threads.get(None)  # noqa: SLF001 - as above
        queue = None if threads is None else threads.others._queues.get("athena")  # noqa: SLF001
        return 0 if queue is None else queue.users

    async def search(agent: str) -> None:
        assert (await world.app.call(world.agent(agent), SearchMemories(query="held rose"))).results

    async with anyio.create_task_group() as tasks:
        with room.held():
            for _ in range(12):
                tasks.start_soon(search, "athena")
            await room.until(lambda: users() == 12)
            with anyio.fail_after(60):
                await search("hera")
            assert len(room.begun) == 2
