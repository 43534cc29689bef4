"""Patience with an embedder that does not answer: after a few failures in a row it is left alone for a while."""

import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

import anyio
import attrs

from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.domain.events import MemoriesChanged
from tmws_core.embedding.notices import Notices
from tmws_core.errors import EmbedderUnavailable, EmbeddingRefused, ModelNotFound
from tmws_core.ports.bus import Bus
from tmws_core.ports.embedder import Embedder, EmbedderHealth
from tmws_core.ports.system import Clock

T = TypeVar("T")

FAILURES = 3
"""Failures in a row after which the circuit opens: one or two are a restart, or a model that loads."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds until a call is let through again; they double with each that fails, and the last is how late a return is
noticed at worst."""

SLOW = 1.0
"""Seconds in which an embedder that works has done something: a loaded model answers one text within 0.2 s."""

TEXT_SECONDS = 0.1
"""What each further text adds: 8 ms with the bundled model, and ten times as much with a large one without a GPU."""

MOST_SECONDS = LONGEST_PAUSE
"""How long an embedder may be busy with what was asked before it counts as hanging."""


@attrs.define(eq=False)
class _Call:
    """What the embedder was asked, and has not answered; of one that is given up it does no more than it has begun."""

    started: float
    texts: int


@attrs.define
class CircuitBreaker:
    """An embedder whose calls fail at once while it is known not to answer.

    After FAILURES failures in a row the circuit is open: calls raise EmbedderUnavailable, which says since when and
    until when. When the pause is over one call is let through; if it succeeds the circuit is closed and the bus hears
    of it, else the pause doubles. An answer that refuses a text, or says that the model is missing, is no failure: it
    keeps nobody waiting. Nor is a call that its caller took back, or whose time ran out while the embedder was at work:
    it has answered somebody meanwhile, or has had less time than all the texts take that were before it.
    """

    inner: Embedder
    clock: Clock
    bus: Bus
    _failures: int = attrs.field(default=0, init=False)
    _since: datetime | None = attrs.field(default=None, init=False)
    _reason: str = attrs.field(default="", init=False)
    _pause: float = attrs.field(default=FIRST_PAUSE, init=False)
    _until: float | None = attrs.field(default=None, init=False)
    _probing: bool = attrs.field(default=False, init=False)
    _calls: list[_Call] = attrs.field(factory=list, init=False)
    _answered: float = attrs.field(default=-math.inf, init=False)
    _notices: Notices = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin with nothing to say."""
        self._notices = Notices(self.clock)

    @property
    def epoch(self) -> int | None:
        """A number that changes when another model may have come to answer."""
        return self.inner.epoch

    async def passages(self, texts: Sequence[str]) -> list[Vector]:
        """Embed texts that are to be found."""
        return await self._guarded(lambda: self.inner.passages(texts), len(texts))

    async def query(self, text: str) -> Vector:
        """Embed a question."""
        return await self._guarded(lambda: self.inner.query(text))

    async def familiarity(self, text: str) -> float:
        """Tell how much of a text the model can read."""
        return await self.inner.familiarity(text)

    async def model(self) -> EmbeddingModel:
        """Return the identity of the model."""
        return await self._guarded(self.inner.model)

    async def health(self) -> EmbedderHealth:
        """Tell whether the embedder can work now; it cannot while the circuit is open, whatever it says itself."""
        health = await self.inner.health()
        if health.up and self._until is not None:
            return attrs.evolve(health, up=False, reason=self._refusal().message)
        return health

    async def _guarded(self, work: Callable[[], Awaitable[T]], texts: int = 1) -> T:
        probing = self._admit()
        call = self._begin(texts)
        deadline = anyio.current_effective_deadline()
        try:
            answer = await work()
        except ModelNotFound as error:
            self._notices.failed(error.message)
            await self._succeeded(call)
            raise
        except EmbeddingRefused:
            self._notices.worked()
            await self._succeeded(call)
            raise
        except EmbedderUnavailable as error:
            self._calls.remove(call)
            self._failed(error.problem, probing=probing)
            raise
        except anyio.get_cancelled_exc_class():
            self._given_up(call, timed_out=anyio.current_time() >= deadline, probing=probing)
            raise
        finally:
            self._probing &= not probing
        self._notices.worked()
        await self._succeeded(call)
        return answer

    def _begin(self, texts: int) -> _Call:
        call = _Call(started=self.clock.monotonic(), texts=texts)
        self._calls.append(call)
        return call

    def _given_up(self, call: _Call, *, timed_out: bool, probing: bool) -> None:
        """Judge by a call that got no answer."""
        seconds = self.clock.monotonic() - call.started
        further = sum(each.texts - 1 for each in self._calls)
        expected = min(SLOW + TEXT_SECONDS * further, MOST_SECONDS)
        self._calls.remove(call)
        if timed_out and seconds >= expected and self._answered < call.started:
            self._failed(f"no answer after {seconds:.0f} s", probing=probing)

    def _admit(self) -> bool:
        """Return whether the call is the one that is let through an open circuit; raise if it is none."""
        if self._until is None:
            return False
        if self._probing or self.clock.monotonic() < self._until:
            raise self._refusal()
        self._probing = True
        return True

    async def _succeeded(self, call: _Call) -> None:
        self._calls.remove(call)
        self._answered = self.clock.monotonic()
        was_open = self._until is not None
        self._failures, self._since, self._until, self._pause = 0, None, None, FIRST_PAUSE
        if was_open:
            await self.bus.publish(MemoriesChanged(memory_ids=()))

    def _failed(self, reason: str, *, probing: bool) -> None:
        self._notices.failed(reason)
        self._failures += 1
        self._since = self._since or self.clock.now()
        self._reason = reason
        if probing:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        if probing or (self._until is None and self._failures >= FAILURES):
            self._until = self.clock.monotonic() + self._pause

    def _refusal(self) -> EmbedderUnavailable:
        seconds = max((self._until or 0.0) - self.clock.monotonic(), 0.0)
        since = f"{self._since:%Y-%m-%d %H:%M:%S} UTC" if self._since else "now"
        return EmbedderUnavailable(
            part="embedder",
            reason=f"it fails since {since}, and is asked again in {seconds:.0f} s ({self._reason})",
            hint="See `tmws doctor`; texts get their vectors when it is back",
        )
