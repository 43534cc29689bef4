"""The approximate index follows the store to another embedding model, and never answers for the wrong one."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import pytest

from tests.contracts.builders import MODEL, vector
from tests.contracts.derived import MemoryIndex, brute
from tests.contracts.planned import COSTS, INTERVAL, QUERY, World, documents, until
from tmws_adapters.chroma import open_chroma
from tmws_adapters.exact import open_exact
from tmws_adapters.partitioned import open_partitioned
from tmws_adapters.sqlite import open_sqlite
from tmws_core.domain.embedding import Canary, EmbeddingModel
from tmws_core.ports.index import DerivedIndex, IndexChange
from tmws_core.ports.models import Models

pytestmark = pytest.mark.anyio

OTHER = attrs.evolve(MODEL, name="tests/other")
CANARY = Canary(text="a canary", vector=QUERY)


@attrs.define
class Asked:
    """Whose queries are asked, as a process knows it."""

    model: EmbeddingModel | None = MODEL


@attrs.frozen
class Scene:
    """A store whose model can change, and the planner over it."""

    world: World
    models: Models
    asked: Asked

    async def change(self, model: EmbeddingModel) -> None:
        """Change to a model whose vectors are others."""
        rows = self.world.random.standard_normal((len(await self.world.allowed()), MODEL.dimension)).tolist()
        async with self.models.migration() as migration:
            await migration.begin(model, CANARY)
            await migration.prepare(
                {number: vector(*row) for number, row in zip(await self.world.allowed(), rows, strict=True)}
            )
            assert await migration.switch(0)

    async def followed(self) -> None:
        """Wait until the index is one for the store's model and holds what the store holds."""

        async def following() -> bool:
            return (await self.world.derived.status()).model == await self.world.storage.model()

        await until(following)
        await self.world.settled()


@asynccontextmanager
async def opened(path: Path, derived: DerivedIndex) -> AsyncIterator[Scene]:
    asked = Asked()
    async with (
        open_sqlite(path / "tmws.db", synchronous="NORMAL") as store,
        open_exact(store.storage.vectors) as exact,
        open_partitioned(
            exact, derived, store.storage, costs=COSTS, interval=INTERVAL, recall=0.0, asking=lambda: asked.model
        ) as index,
    ):
        yield Scene(World(store.storage, derived, index), store.models, asked)


@pytest.fixture(params=["memory", "chroma"])
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        derived: DerivedIndex = MemoryIndex()
        if request.param == "chroma":
            derived = await stack.enter_async_context(open_chroma(directory=tmp_path / "chroma", url=None))
        yield await stack.enter_async_context(opened(tmp_path, derived))


@pytest.mark.parametrize("model", [OTHER, MODEL], ids=["another name", "other weights"])
async def test_the_index_is_begun_anew_when_the_store_changes_its_model(scene: Scene, model: EmbeddingModel) -> None:
    await scene.world.add(60)
    await scene.followed()

    await scene.change(model)
    await scene.followed()

    scene.asked.model = await scene.world.storage.model()
    nearest = await scene.world.search()
    wanted = brute(await scene.world.storage.vectors(await scene.world.allowed()), QUERY, 10)
    assert nearest.source == scene.world.derived.source
    assert documents(nearest) == [hit.document for hit in wanted]


async def test_an_index_of_another_model_than_the_query_is_not_asked(scene: Scene) -> None:
    await scene.world.add(60)
    await scene.followed()
    assert (await scene.world.search()).source == scene.world.derived.source

    scene.asked.model = OTHER

    assert (await scene.world.search()).source == "exact"


@attrs.define(eq=False)
class Overtaken(MemoryIndex):
    """An index to which something happens before the next changes come in."""

    happens: Callable[[], Awaitable[None]] | None = None

    async def apply(self, changes: Sequence[IndexChange]) -> None:
        happens, self.happens = self.happens, None
        if happens is not None:
            await happens()
        await super().apply(changes)


async def test_vectors_that_come_too_late_for_the_change_of_model_do_not_stay(tmp_path: Path) -> None:
    derived = Overtaken()
    async with opened(tmp_path, derived) as scene:

        async def overtake() -> None:
            await scene.change(OTHER)
            await derived.reset(OTHER)

        derived.happens = overtake
        await scene.world.add(60)
        await until(lambda: begun_anew(derived))
        await scene.followed()

        stored = await scene.world.storage.vectors(await scene.world.allowed())
        assert {number: each for held in derived.held.values() for number, each in held.items()} == stored


async def begun_anew(derived: Overtaken) -> bool:
    return derived.happens is None and derived.model == OTHER
