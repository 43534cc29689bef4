"""The embedder as one store may use it: only the model that made the store's vectors."""

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import attrs

from tmws_core.domain.embedding import CALIBRATIONS, Calibration, EmbeddingModel, KnownModel, Vector
from tmws_core.embedding.calibration import calibrated
from tmws_core.embedding.identity import Identity, fits, identify, same_name
from tmws_core.embedding.refusals import Unproved, model_mismatch, store_changed, weights_changed
from tmws_core.errors import (
    EmbedderUnavailable,
    EmbeddingRefused,
    ModelMismatch,
    ModelNotFound,
    PartUnavailable,
    StorageUnavailable,
)
from tmws_core.ports.embedder import Embedder, EmbedderHealth
from tmws_core.ports.storage import Storage, UnitOfWork
from tmws_core.ports.system import Clock
from tmws_core.turns import Turns

T = TypeVar("T")

logger = logging.getLogger("tmws")

PROOF_SECONDS = 60.0
"""How long a proof of the model holds: a model that is pulled anew under its name is noticed as late as an embedder
that is back (LONGEST_PAUSE of the circuit). Two short texts a minute are nothing to an embedder that is used."""

DOUBT_SECONDS = 15.0
"""How long a disproof holds: as often is looked for texts without a vector (RETRY_SECONDS of the indexing)."""

OWN_CALLS = 2
"""Calls of one agent at once, for passages and as many for questions: two keep an embedder busy, and whoever comes next
waits for what those two have begun, however many more there are."""


@attrs.define
class StoreEmbedder:
    """An embedder that works only while it is the model of the store's vectors.

    It is compared with the store's model by what it makes of the canary: with the first call, every PROOF_SECONDS of
    use, after a call that failed and after a connection that was lost. Every search and every transaction that stores
    vectors finds out whether the store still has that model. ModelMismatch where the store's vectors come from another
    model; ModelReplaced, which is an EmbedderUnavailable, where that has come about since this process was started.
    """

    inner: Embedder
    storage: Storage
    clock: Clock
    storing: Turns = attrs.field(factory=partial(Turns, OWN_CALLS), init=False)
    asking: Turns = attrs.field(factory=partial(Turns, OWN_CALLS), init=False)
    """The turns of each agent, by its id, for passages and for questions."""
    _identity: Identity | None = attrs.field(default=None, init=False)
    _proved: float = attrs.field(default=-math.inf, init=False)
    _begun: float = attrs.field(default=-math.inf, init=False)
    _doubted: bool = attrs.field(default=False, init=False)
    _refused: bool = attrs.field(default=False, init=False)
    _known: KnownModel | None = attrs.field(default=None, init=False)
    _served: EmbeddingModel | None = attrs.field(default=None, init=False)
    _expected: EmbeddingModel | None = attrs.field(default=None, init=False)
    _calibrated: dict[EmbeddingModel, Calibration] = attrs.field(factory=dict, init=False)
    changes: int = attrs.field(default=0, init=False)
    """How often the model was found to be another one: vectors made before are not to be used again."""

    @property
    def epoch(self) -> int | None:
        """A number that changes when another model may have come to answer."""
        return self.inner.epoch

    async def passages(self, texts: Sequence[str]) -> list[Vector]:
        """Embed texts that are to be found; `adopt` tells whether their vectors may be stored."""

        async def admit() -> None:
            if self._known is None:
                await self.model()

        return await self._made(lambda: self.inner.passages(texts), admit)

    async def query(self, text: str, stored: EmbeddingModel | None = None) -> Vector:
        """Embed a question; who knows the model of the store spares the look at it."""

        async def admit() -> None:
            await (self.accept(stored) if stored else self.model())

        return await self._made(lambda: self.inner.query(text), admit)

    async def familiarity(self, text: str) -> float:
        """Tell how much of a text the model can read."""
        return await self.inner.familiarity(text)

    def calibration(self, stored: EmbeddingModel | None) -> Calibration | None:
        """Return what cosines of a model mean, or None where that is not known, or they tell nothing."""
        found = None if stored is None else self._known_calibration(stored)
        return found if found is not None and found.tells else None

    async def calibrate(self) -> None:
        """Find out what cosines of the store's model mean, and keep it with the model, if nobody has done so.

        Does nothing before the embedder was used: what nobody asks for vectors need not load its model.

        Raises:
            EmbedderUnavailable: the embedder is down, or the store has changed its model.
            ModelMismatch: the store's vectors were made by another model.
        """
        stored = await self.storage.model()
        if stored is None or stored != self.fitting() or self._known_calibration(stored) is not None:
            return
        canary = await self.storage.canary(stored)
        if canary is None:
            return
        since = self.changes
        calibration = canary.calibration or await calibrated(self)
        if since != self.changes:
            return
        # Before others can see that it is kept: who waits for that may search at once.
        self._calibrated = {stored: calibration}
        if canary.calibration is None:
            async with self.storage.write() as unit:
                await unit.use_model(stored, attrs.evolve(canary, calibration=calibration))

    def _known_calibration(self, stored: EmbeddingModel) -> Calibration | None:
        return CALIBRATIONS.get(stored.digest) or self._calibrated.get(stored)

    async def model(self) -> EmbeddingModel:
        """Return the model, after a look at the store's."""
        return await self.accept(await self.storage.model())

    async def accept(self, stored: EmbeddingModel | None) -> EmbeddingModel:
        """Return the model, if it may work for a store that has the model `stored`, or none yet.

        That it fitted once is enough, as it is for vectors that were made before: only new ones need a new proof.
        """
        if stored is not None and stored == self.fitting():
            return stored
        identity = await self._identified()
        if stored is None:
            return identity.model
        if stored != self.fitting():
            await self._compare(identity, stored)
        return stored

    async def vectors(self, documents: Sequence[int], model: EmbeddingModel | None, timeline: int) -> dict[int, Vector]:
        """Return the vectors that a model, which made the query, has made of those documents (see Storage.vectors).

        ModelReplaced if the store has another one by now; else as any call raises, where there are none.
        """
        vectors = {} if model is None else await self.storage.vectors(documents, model, timeline)
        if not vectors:
            stored = await self.model()
            if stored != model:
                raise store_changed(stored)
        return vectors

    def fitting(self) -> EmbeddingModel | None:
        """Return the model of the store that this one was last found to be."""
        return None if self._known is None else self._known.model

    async def adopt(self, unit: UnitOfWork, since: int) -> bool:
        """Make this the store's model until the end of the transaction that is to add its vectors.

        False if the store has another one by now, or this is another one than before they were made, when `changes` was
        `since`: the vectors must not be added.
        """
        if self._refused or since != self.changes:
            return False
        identity = self._identity or await self._identified()
        model = self.fitting() or identity.model
        try:
            await unit.use_model(model, identity.canary)
        except ModelMismatch:
            self._known = None
            return False
        self._served, self._expected = model, self._expected or model
        return True

    async def expect(self, name: str) -> None:
        """Note the model that the store has at the start; ModelMismatch if that of the embedder has another name."""
        stored = await self.storage.model()
        if stored is not None and stored.name != name:
            raise model_mismatch(stored, name)
        self._expected = stored

    async def health(self) -> EmbedderHealth:
        """Tell whether the embedder can work now, and may."""
        health = await self.inner.health()
        if health.up:
            try:
                await self._look(health)
            except StorageUnavailable:
                pass
            except PartUnavailable as error:
                return attrs.evolve(health, up=False, reason=error.message)
        return health

    async def _look(self, health: EmbedderHealth) -> None:
        """Compare what the embedder says of itself; only one that was refused is asked for a proof."""
        stored = await self.storage.model()
        if stored is None:
            return
        told = EmbeddingModel(name=health.model, dimension=stored.dimension, digest=health.digest)
        if not same_name(stored, told):
            self._doubted = True
            raise self._refusal(stored, health.model)
        if self._identity is not None:
            await self.accept(stored)

    async def _made(self, make: Callable[[], Awaitable[T]], admit: Callable[[], Awaitable[None]]) -> T:
        """Return what the proved model makes."""
        identity = await self._identified()
        await admit()
        try:
            made = await make()
        except EmbeddingRefused:
            raise
        except EmbedderUnavailable:
            self._doubted = True
            raise
        if self.inner.epoch != identity.epoch:
            # Somebody else may have answered already.
            await self._identified()
            await admit()
        return made

    async def _identified(self) -> Identity:
        # Without a lock: behind a caller whose patience is longer, nobody would find out that the embedder hangs.
        return await self._prove() if self._identity is None or self._is_due() else self._identity

    def _is_due(self) -> bool:
        epoch = self.inner.epoch
        if epoch is None or self._identity is None:
            return False
        holds = DOUBT_SECONDS if self._refused else PROOF_SECONDS
        return self._doubted or epoch != self._identity.epoch or self.clock.monotonic() >= self._proved + holds

    async def _prove(self) -> Identity:
        begun = self.clock.monotonic()
        # Where it is only time, others go on meanwhile with the proof that there is.
        self._proved, proved = begun, False
        try:
            identity = await identify(self.inner)
            same = self._known is None or await fits(self.inner, identity, self._known)
            proved = True
        except ModelNotFound:
            raise
        except EmbedderUnavailable as error:
            raise Unproved(part=error.part, reason=error.reason, hint=error.hint) from error
        finally:
            self._doubted |= not proved
        if begun >= self._begun:
            self._identity, self._begun, self._doubted = identity, begun, False
            if not same:
                self._known = None
                self.changes += 1
        return identity

    async def _compare(self, identity: Identity, stored: EmbeddingModel) -> None:
        canary = await self.storage.canary(stored)
        if canary is not None and canary.calibration is not None:
            self._calibrated = {stored: canary.calibration}
        if not await fits(self.inner, identity, KnownModel(model=stored, canary=canary)):
            self._known = None
            refusal = self._refusal(stored, identity.model.name)
            if not self._refused:
                self.changes += 1
                logger.warning("⚠️ %s", refusal.message)
            self._refused = True
            raise refusal
        if self._refused:
            logger.info("✅ The embedder fits the store again: %s", stored.name)
        self._refused, self._known = False, KnownModel(model=stored, canary=canary or identity.canary)
        self._served = self._expected = stored
        if canary is None:
            with suppress(StorageUnavailable, ModelMismatch):
                async with self.storage.write() as unit:
                    await unit.use_model(stored, identity.canary)

    def _refusal(self, stored: EmbeddingModel, name: str) -> PartUnavailable:
        if self._expected is not None and stored != self._expected:
            return store_changed(stored)
        return weights_changed(stored) if stored == self._served else model_mismatch(stored, name)
