"""What requests over HTTP make the server hold, for each who sends them and for all: their answers and their bodies."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from math import ceil
from typing import Any
from weakref import WeakValueDictionary

import anyio
import attrs
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tmws_adapters.local.limits import LINE_BYTES
from tmws_core.aside import on_behalf_of
from tmws_core.errors import Overloaded, RateLimited, TmwsError
from tmws_mcp.limiting import WAITING, caller_of, network_of
from tmws_mcp.room import CALLS, ROOM, Room

SHARES = 8
"""How many may hold all that they can at once before others wait: 800 memories in answers, 64 MiB of bodies.

An answer of 100 memories of the largest size has 6.4 MB to 13 MB, and 13 MB to 38 MB over MCP, which says each twice:
it counts as 100 memories in any case, and so all have 300 MB at most.
"""

SPARE = ROOM // 10
"""Memories in answers that one may ask for beside a large answer which it has not read: what a search finds."""

BODIES = 16
"""Large bodies that wait: of each the server holds 0.6 MB at most, as much as it is read before it waits."""

UNTIL_READ = "until_read"
"""Where a request's state has what ends when its answer has been read, an ExitStack; HTTP's protocol puts it there."""

_CLAIM = "claim"

_UNREAD = "answers to earlier ones are not read; read them, or ask for less"

_UNSENT = "earlier ones are not sent to their end; send large ones one by one"

_MEMORY_BYTES = ceil(LINE_BYTES / ROOM)
"""What an answer counts as one memory, once it is there."""


@attrs.define(kw_only=True)
class Pool:
    """Room for all, and for each a share of it; `line` may wait for room, and the next one is refused.

    What takes no more than `spare`, and does not fit into the share now, has so much room beside it.
    """

    share: int
    line: int
    what: str
    spare: int = 0
    _all: Room = attrs.field(init=False)
    _own: WeakValueDictionary[str, Room] = attrs.field(factory=WeakValueDictionary, init=False)

    def __attrs_post_init__(self) -> None:
        self._all = Room(SHARES * self.share)

    def rooms_of(self, whose: str, amount: int) -> list[tuple[Room, TmwsError]]:
        """Return the rooms that one has to enter, its own first, each with the refusal of who has waited in vain."""
        own = self._room(whose, self.share)
        if amount <= self.spare and not own.has_now(amount):
            own = self._room(f"{whose}, spare", self.spare)
        return [(own, RateLimited(limit=self.what, retry_after=1)), (self._all, Overloaded())]

    def _room(self, name: str, size: int) -> Room:
        room = self._own.get(name)
        if room is None:
            room = self._own[name] = Room(size)
        return room


@attrs.frozen(kw_only=True, eq=False)
class Claim:
    """What one request holds: of the bodies until it is answered, of the answers until its answer has been read."""

    whose: str
    patience: float
    answers: Pool
    bodies: Pool
    waiting: Callable[[], AbstractContextManager[None]]
    answered: ExitStack
    read: ExitStack
    _body: list[Room] = attrs.field(factory=list)
    _answer: list[tuple[Room, int]] = attrs.field(factory=list)

    async def body(self, size: int) -> None:
        """Wait for room for a body of so many bytes; RateLimited or Overloaded if there is none in time.

        What it had room for before, it has not meanwhile: two that both keep some and wait for more would never end.
        """
        for room in self._body:
            room.leave(self)
        self._body[:] = await self._enter(self.bodies, size, self.answered)

    def received(self, size: int) -> None:
        """Count the body as what it is, now that it is there: so many bytes."""
        for room in self._body:
            room.resize(self, size)

    async def answer(self, memories: int) -> None:
        """Wait for room for an answer of so many memories; RateLimited or Overloaded if there is none in time."""
        if memories:
            rooms = await self._enter(self.answers, memories, self.read)
            self._answer.extend((room, memories) for room in rooms)

    def told(self, size: int) -> None:
        """Count the answer as what it is, now that it is there: so many bytes, and no more than it had room for."""
        for room, memories in self._answer:
            room.resize(self, min(ceil(size / _MEMORY_BYTES), memories))

    async def _enter(self, pool: Pool, amount: int, until: ExitStack) -> list[Room]:
        deadline = anyio.current_time() + self.patience
        rooms = pool.rooms_of(self.whose, amount)
        for room, refusal in rooms:
            until.callback(room.leave, self)
            if not room.enter_now(self, amount):
                if room.waiting() >= pool.line:
                    raise refusal
                with self.waiting(), anyio.CancelScope(deadline=deadline) as late:
                    await room.enter(self, amount)
                if late.cancelled_caught:
                    raise refusal
        return [room for room, _ in rooms]


@attrs.frozen
class Claims:
    """Gives each request what it claims with, see `claim_of`; an ASGI middleware inside the authentication.

    Whoever has not said who it is shares with its address. What waits has no place among what runs, and nothing that
    claims nothing waits, such as what asks whether the server lives. `patience` is in seconds.
    """

    app: ASGIApp
    patience: float
    _answers: Pool = attrs.field(factory=lambda: Pool(share=ROOM, line=CALLS, what=_UNREAD, spare=SPARE), init=False)
    _bodies: Pool = attrs.field(factory=lambda: Pool(share=LINE_BYTES, line=BODIES, what=_UNSENT), init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        caller = caller_of(scope)
        state = scope["state"]
        with ExitStack() as answered:
            claim = state[_CLAIM] = Claim(
                whose=network_of(scope.get("client")) if caller is None else f"agent {caller.agent_id}",
                patience=self.patience,
                answers=self._answers,
                bodies=self._bodies,
                waiting=state.get(WAITING, nullcontext),
                answered=answered,
                read=state.get(UNTIL_READ, answered),
            )
            size = 0

            async def sending(message: Message) -> None:
                nonlocal size
                size += len(message.get("body", b""))
                claim.told(size)
                await send(message)

            with on_behalf_of(claim.whose if caller is None else caller.agent_id):
                await self.app(scope, receive, sending)


def claim_of(request: Any) -> Claim:
    """Return what a request of HTTP claims with; the SDK shows it as anything."""
    claim: Claim = request.scope["state"][_CLAIM]
    return claim
