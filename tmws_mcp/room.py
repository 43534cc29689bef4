"""Room for the answers of one client, which it may read slowly, or never."""

from collections.abc import Hashable, Mapping
from typing import Any, cast

import anyio
import attrs

from tmws_adapters.local.limits import LINE_BYTES
from tmws_core.coercion import boolean, integer
from tmws_core.domain.memory import BATCH
from tmws_core.lenient import known_names
from tmws_core.messages.memory import PAGE
from tmws_core.operation import Operation

ROOM = PAGE
"""Memories that may be on their way to one client, of 80 KB each at most: one full page, 8 MB.

100 lists of 6 MB that nobody reads made the owner grow by 570 MB as calls and by 1,300 MB over MCP without this bound,
and by 7 MB and 32 MB with it (measured).
"""

CALLS = 100
"""Calls of one client that are taken at once; the next one is read when one of them has been answered."""

TAKEN_BYTES = LINE_BYTES
"""What calls may bring with them: a client that has sent so much is read again when it has been answered."""

_RECEIPTS = 100
"""Answers to stored memories that are as large as one memory."""

_OTHER = {"resources/list": 20, "resources/read": 1}
"""Requests of MCP that are no calls, and how many memories' worth they are answered with; other answers are short."""


@attrs.define
class Room:
    """Lets calls begin in order, each when those before it leave it room; one alone always has it.

    How large an answer will be is known when it is there, and then it is too late: what counts is how many memories may
    be in it, however short they are. It counts from before the call runs until `leave`, when the answer is written. For
    the bodies of requests it counts bytes.
    """

    size: int = ROOM
    _held: dict[Hashable, int] = attrs.field(factory=dict)
    _line: anyio.Lock = attrs.field(factory=anyio.Lock)
    _changed: anyio.Event = attrs.field(factory=anyio.Event)

    async def enter(self, call: Hashable, amount: int) -> None:
        """Wait until there is room for an answer of so many memories."""
        async with self._line:
            while not self._has(amount):
                await self._changed.wait()
            self._held[call] = amount

    def enter_now(self, call: Hashable, amount: int) -> bool:
        """Take the same, if it is there and nobody waits for it; tell whether."""
        if not self.has_now(amount):
            return False
        self._held[call] = amount
        return True

    def has_now(self, amount: int) -> bool:
        """Tell whether so much is there and nobody waits for it."""
        return not self._line.locked() and self._has(amount)

    def resize(self, call: Hashable, amount: int) -> None:
        """Count what has entered as so much from now on."""
        if call in self._held:
            self._held[call] = amount
            self._change()

    def leave(self, call: Hashable) -> None:
        """Let others begin: the answer is written, or there will be none. Whoever has not entered may leave."""
        if self._held.pop(call, None) is not None:
            self._change()

    def waiting(self) -> int:
        """Return how many wait."""
        return self._line.statistics().tasks_waiting + self._line.locked()

    def _has(self, amount: int) -> bool:
        return not self._held or sum(self._held.values()) + amount <= self.size

    def _change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


@attrs.define
class Taken:
    """The calls that were taken from a client and not answered, with the bytes of each."""

    _calls: dict[Hashable, int] = attrs.field(factory=dict)
    _changed: anyio.Event = attrs.field(factory=anyio.Event)

    def __contains__(self, call: Hashable) -> bool:
        """Tell whether a call has no answer."""
        return call in self._calls

    def add(self, call: Hashable, size: int) -> None:
        """Take a call of so many bytes."""
        self._calls[call] = size

    def settle(self, call: Hashable) -> None:
        """Forget a call that is answered, or will not be."""
        self._calls.pop(call, None)
        self._changed.set()
        self._changed = anyio.Event()

    async def below_limits(self) -> None:
        """Wait until another call may be taken."""
        while len(self._calls) >= CALLS or sum(self._calls.values()) >= TAKEN_BYTES:
            await self._changed.wait()

    async def none(self) -> None:
        """Wait until all are answered."""
        while self._calls:
            await self._changed.wait()


def most_of(operation: Operation | None, arguments: object) -> int:
    """Return how many memories, or as much of something else, the answer to a call may hold; 0 if it is short."""
    if operation is None:
        return 0
    if isinstance(arguments, str):  # JSON, which is read when the call runs
        return ROOM if operation.quotes else BATCH // _RECEIPTS
    given = known_names(arguments, operation.request) if isinstance(arguments, Mapping) else {}
    if not operation.quotes:
        stored = given.get("memories")
        return (BATCH if isinstance(stored, str) else len(stored)) // _RECEIPTS if isinstance(stored, str | list) else 0
    if boolean(given.get("include_history")):
        return ROOM
    limit = integer(given.get("limit", _default_limit(operation)))
    return max(1, min(limit, ROOM)) if isinstance(limit, int) else 1


def most_in(message: str, params: Mapping[str, Any] | None, operations: Mapping[str, Operation]) -> int:
    """Return the same for a request of MCP."""
    given = params or {}
    if message == "tools/call":
        name = given.get("name")
        return most_of(operations.get(name) if isinstance(name, str) else None, given.get("arguments"))
    return _OTHER.get(message, 0)


def _default_limit(operation: Operation) -> int:
    fields = {field.name: field.default for field in attrs.fields(cast("type[attrs.AttrsInstance]", operation.request))}
    return int(fields.get("limit") or 1)
