"""Keeping the approximate index equal to the store."""

import logging
from array import array
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from math import inf

import anyio
import anyio.to_thread
import attrs

from tmws_adapters.partitioned.costs import Costs
from tmws_adapters.partitioned.coverage import Coverage
from tmws_adapters.partitioned.hottest import hottest
from tmws_core.domain.embedding import EmbeddingModel
from tmws_core.errors import IndexUnavailable, PartUnavailable
from tmws_core.ports.index import DerivedIndex, IndexChange, IndexStatus
from tmws_core.ports.storage import Storage

logger = logging.getLogger(__name__)

BATCH = 25
"""Changes made at once: an embedded Chroma holds the interpreter's lock while it writes, 30 ms for 25, 50 ms for 50."""

INTERVAL = timedelta(seconds=1)
"""Between two looks at the store; what is not yet in the index is searched exactly, so that this only costs time."""

LONGEST_PAUSE = timedelta(seconds=30)
"""Between two attempts after failures, and two looks at what the index says it holds."""

REST = 20
"""How many times as long as reading the partitions took to rest afterwards: at most a twentieth of one core is used."""

POLITENESS = 6
"""Rest after a batch while searches run, in times of the batch: searches take 3 to 4 % longer at p50 (measured)."""

SEARCHING = timedelta(seconds=10)
"""How long after a search another one is expected; without rests, rare searches would nearly all meet a batch."""

Report = Callable[[int, int], None]
"""Takes how many documents have come into the index, and how many are to."""


@attrs.frozen(kw_only=True)
class Standing:
    """What the index holds, and how many documents wait to come into it.

    `model` is the store's; `worthwhile` is how many documents a partition must hold to come into the index, None in a
    store without vectors.
    """

    index: IndexStatus
    waiting: int
    model: EmbeddingModel | None
    worthwhile: int | None


@attrs.define(eq=False)
class Follower:
    """Makes the index hold what the store holds in every partition that is worth it.

    It needs no list of changes to be made, only the difference: the text of a document number never changes, so both
    sides are described by their numbers alone. Making a difference twice does no harm, a crash on either side only
    means to look again, and an index that was lost is one that differs a lot.

    `model` made the vectors of what `coverage` tells. When the store changes to another one, the index is begun anew.

    `searched` is set by whoever searches to the time of the loop, so that filling leaves most of the time to searches.

    A partition that has come into the index leaves it when it falls below half of what made it worth it. Of all that
    are worth it together only the `room` most recently written documents come into the index, or all if that is 0.
    """

    _storage: Storage
    _derived: DerivedIndex
    _costs: Costs
    interval: timedelta = INTERVAL
    room: int = 0
    coverage: Coverage | None = attrs.field(default=None, init=False)
    model: EmbeddingModel | None = attrs.field(default=None, init=False)
    failure: IndexUnavailable | None = attrs.field(default=None, init=False)
    waiting: int = attrs.field(default=0, init=False)
    searched: float = attrs.field(default=-inf, init=False)
    _doubts: int = attrs.field(default=0, init=False)
    _settled: int = attrs.field(default=-1, init=False)
    _seen: int | None = attrs.field(default=None, init=False)
    _asked: float | None = attrs.field(default=None, init=False)
    _reading: float = attrs.field(default=0.0, init=False)
    _turn: anyio.Lock = attrs.field(factory=anyio.Lock, init=False)

    @property
    def heard(self) -> bool:
        """Tell whether the index has ever answered; in a store without vectors it is not asked."""
        return self._asked is not None

    async def run(self) -> None:
        """Follow the store for ever, from one interval after the start.

        Loading Chroma and the vectors of the first search at the same time made that take 2 s instead of 0.5 s.
        """
        shortest = self.interval.total_seconds()
        pause = shortest
        while True:
            await anyio.sleep(pause)
            try:
                await self.catch_up()
            except IndexUnavailable as error:
                self.fail(error)
                pause = min(2 * pause, LONGEST_PAUSE.total_seconds())
            except PartUnavailable as error:
                logger.warning("The vector index cannot follow the store: %s", error.message)
                pause = min(2 * pause, LONGEST_PAUSE.total_seconds())
            else:
                pause = max(shortest, REST * self._reading)

    def fail(self, error: IndexUnavailable) -> None:
        """Note that the index is out of reach, and that it may hold something else when it is back."""
        if self.failure is None:
            logger.warning("The vector index is out of reach: %s", error.message)
        self.failure = error
        self.doubt()

    def doubt(self) -> None:
        """Note that the index may hold something else than was thought."""
        self._doubts += 1

    async def catch_up(self) -> None:
        """Make the index equal to the store as it is now.

        Raises:
            IndexUnavailable: the index is out of reach; some of the work may be done.
            StorageUnavailable: the store is; as above.
        """
        async with self._turn:
            if self._asked is not None and anyio.current_time() >= self._asked + LONGEST_PAUSE.total_seconds():
                await self._ask()
            await self._look(_silent)

    async def standing(self) -> Standing:
        """Compare what the index holds with what it should.

        Raises:
            IndexUnavailable: the index is out of reach.
        """
        status = await self._derived.status()
        model = await self._storage.model()
        held = status.partitions if status.model == model else {}
        due = await self._due(model, held)
        waiting = sum(max(0, count - held.get(name, 0)) for name, count in due.items())
        least = None if model is None else self._costs.worthwhile(model.dimension)
        if self.room:
            status = attrs.evolve(status, parameters={**status.parameters, "cache_size": self.room})
        return Standing(index=status, waiting=waiting, model=model, worthwhile=least)

    async def due(self) -> int:
        """Count the documents that the index should hold."""
        return sum((await self._due(await self._storage.model(), {})).values())

    async def begin(self, model: EmbeddingModel) -> Standing:
        """Make the index ready for vectors of `model`, unless it is.

        Raises:
            IndexUnavailable: the index is out of reach.
        """
        async with self._turn:
            if (await self._derived.status()).model != model:
                self.doubt()
                await self._derived.reset(model)
        return await self.standing()

    async def rebuild(self, report: Report) -> Standing:
        """Forget all that the index holds and fill it again from the store.

        Raises:
            IndexUnavailable: the index is out of reach; what is missing then comes with the next look.
        """
        async with self._turn:
            model = await self._storage.model()
            self.doubt()
            if model is not None:
                await self._derived.reset(model)
            await self._look(report)
        return await self.standing()

    async def _due(self, model: EmbeddingModel | None, held: Mapping[str, int]) -> dict[str, int]:
        if model is None:
            return {}
        async with self._storage.read() as snapshot:
            partitions = await snapshot.memories.partitions()
        wanted = await self._wanted(model, partitions, held)
        return {name: len(documents) for name, documents in wanted.items()}

    async def _wanted(
        self, model: EmbeddingModel, partitions: "Mapping[str, array[int]]", held: Mapping[str, int]
    ) -> "dict[str, array[int]]":
        minimum = self._costs.worthwhile(model.dimension)
        least = {name: minimum / 2 for name, count in held.items() if count}
        return await anyio.to_thread.run_sync(hottest, partitions, self.room, lambda name: least.get(name, minimum))

    async def _look(self, report: Report) -> None:
        doubts = self._doubts
        changes = await self._storage.changes()
        if self._settled == doubts and changes == self._seen:
            self._reading = 0.0
            return
        started = anyio.current_time()
        model = await self._storage.model()
        if model != self.model:
            self.doubt()
            doubts = self._doubts
        async with self._storage.read() as snapshot:
            partitions = await snapshot.memories.partitions()
        self._reading = anyio.current_time() - started
        if model is not None:
            await self._make_equal(model, partitions, report)
            await self._ask()
        self._seen, self._settled = changes, doubts
        if self.failure is not None and doubts == self._doubts:
            logger.info("The vector index is back")
            self.failure = None

    async def _ask(self) -> None:
        """Doubt if the index does not hold what it should: others may have changed or deleted it."""
        status = await self._derived.status()
        self._asked = anyio.current_time()
        held = {name: count for name, count in status.partitions.items() if count}
        if self.coverage is not None and held != self.coverage.counts:
            self.doubt()

    async def _make_equal(self, model: EmbeddingModel, partitions: "Mapping[str, array[int]]", report: Report) -> None:
        coverage = self.coverage
        if coverage is None or self._settled != self._doubts:
            coverage = await self._read(model, bool(await self._wanted(model, partitions, {})))
        counts = coverage.counts
        wanted = await self._wanted(model, partitions, counts)
        for name in counts.keys() - wanted.keys():
            coverage.take_all(name)
            await self._derived.drop(name)
        difference = await anyio.to_thread.run_sync(coverage.difference, wanted)
        self.waiting = total = sum(map(len, difference.added.values()))
        # First what leaves, so that the index never holds more than there is room for.
        for name, documents in _batches(difference.removed):
            await self._politely(self._remove(coverage, name, documents))
        for name, documents in _batches(difference.added):
            await self._politely(self._add(model, coverage, name, documents))
            report(total - self.waiting, total)

    async def _politely(self, work: Coroutine[object, object, None]) -> None:
        """Do the work, and leave some time to searches if there are any."""
        started = anyio.current_time()
        await work
        ended = anyio.current_time()
        if ended - self.searched < SEARCHING.total_seconds():
            await anyio.sleep(POLITENESS * (ended - started))

    async def _remove(self, coverage: Coverage, partition: str, documents: Sequence[int]) -> None:
        coverage.take(partition, documents)
        await self._derived.apply([IndexChange(document=each, partition=partition, vector=None) for each in documents])

    async def _add(self, model: EmbeddingModel, coverage: Coverage, partition: str, documents: Sequence[int]) -> None:
        vectors = await self._storage.vectors(documents, model)
        await self._derived.apply(
            [IndexChange(document=each, partition=partition, vector=vector) for each, vector in vectors.items()]
        )
        if await self._storage.model() == model:
            coverage.put(partition, list(vectors))
            self.waiting -= len(documents)
        else:
            # Another process may have begun the index anew for the store's new model.
            await self._remove(coverage, partition, documents)

    async def _read(self, model: EmbeddingModel, needed: bool) -> Coverage:  # noqa: FBT001 - private, one caller
        """Ask the index for all that it holds; if it is one for another model, begin it anew where it is needed."""
        if self.coverage is not None:
            # A search under way must not rely on it any more.
            self.coverage.clear()
        self.coverage = coverage = Coverage()
        self.model = model
        status = await self._derived.status()
        self._asked = anyio.current_time()
        if status.model == model:
            for partition in status.partitions:
                coverage.put(partition, await self._derived.documents(partition))
        elif needed or status.partitions:
            await self._derived.reset(model)
        return coverage


def _batches(documents: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, list[int]]]:
    for name, numbers in documents.items():
        rest = iter(numbers)
        while batch := list(islice(rest, BATCH)):
            yield name, batch


def _silent(_done: int, _total: int) -> None:
    return
