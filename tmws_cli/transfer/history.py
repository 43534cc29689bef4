"""Former texts: written in pieces of bounded size, and told again one after the other."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import attrs

from tmws_cli.transfer.records import HISTORY_OF, HISTORY_TOTAL, Record
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.errors import MemoryNotFound
from tmws_core.messages.memory import CreateMemory, FormerText, GetMemory, MemoryFound, MemoryView, UpdateMemory
from tmws_core.wire import unstructure

PIECE_BYTES = 64 * 1024
"""Of the former texts of one piece, which has at least one: six times as long in JSON, it fits into a line by far."""

PIECE_TEXTS = 100
"""In one piece: eleven times as many values, it fits into a front matter by far."""


async def exported(app: App, caller: Caller, memory: MemoryView) -> AsyncIterator[Mapping[str, Any]]:
    """Yield a memory as it is exported: itself with its oldest former texts, and then the others in pieces.

    At most a page of former texts is held at a time. What is written of a memory once is not written otherwise later,
    but for the last piece: there are more texts then.
    """
    if memory.version == 1:
        yield unstructure(memory)
        return
    request = GetMemory(memory_id=memory.memory_id, include_history=True, oldest_first=True)
    found: MemoryFound | None = None
    with suppress(MemoryNotFound):  # since the page was read
        found = await app.call(caller, request)
        memory = found.memory
    fields: dict[str, Any] = unstructure(memory)
    if found is None or not found.history:
        yield fields
        return
    former = _pieces(found.history)
    fields |= {"history": next(former), HISTORY_TOTAL: found.history_total}
    yield fields
    while True:
        for piece in former:
            yield {HISTORY_OF: memory.memory_id, "history": piece}
        if found.next_cursor is None:
            return
        found = await app.call(caller, attrs.evolve(request, cursor=found.next_cursor))
        former = _pieces([text for text in found.history or () if text.version < memory.version])


def beginning(record: Record) -> CreateMemory:
    """Return what stores a memory with its first text."""
    return attrs.evolve(record.request, content=record.former[0]) if record.former else record.request


@attrs.define
class Retelling:
    """Changes a memory from text to text, from where an interrupted import has stopped; one that differs stays.

    `_told` counts the former texts that it has, and `_place` those that were heard of here.
    """

    _app: App
    _caller: Caller
    _memory_id: str
    identity: str | None
    _last: str
    _told: int
    _present: str
    _place: int = attrs.field(default=0, init=False)
    _differs: bool = attrs.field(default=False, init=False)

    @classmethod
    async def begun(cls, app: App, caller: Caller, record: Record, memory_id: str) -> "Retelling":
        """Look how far a memory is."""
        found = await app.call(caller, GetMemory(memory_id=memory_id, include_history=True))
        told = found.history_total if found.history_total is not None else len(found.history or ())
        last = record.request.content
        return cls(app, caller, memory_id, record.identity, last, told, found.memory.content)

    async def go_on(self, texts: Sequence[str]) -> None:
        """Tell the texts that follow."""
        for text in texts:
            if self._place == self._told:
                self._differs = text != self._present
            elif self._place == self._told + 1 and not self._differs:
                await self._app.call(self._caller, UpdateMemory(memory_id=self._memory_id, content=text))
                self._told, self._present = self._place, text
            self._place += 1

    async def end(self) -> None:
        """Tell the text that the memory has at last."""
        await self.go_on([self._last])


def _pieces(texts: Sequence[FormerText]) -> Iterator[list[Any]]:
    piece: list[Any] = []
    size = 0
    for text in texts:
        length = len(text.content.encode())
        if piece and (size + length > PIECE_BYTES or len(piece) == PIECE_TEXTS):
            yield piece
            piece, size = [], 0
        piece.append(unstructure(text))
        size += length
    if piece:
        yield piece
