"""Former texts: written in pieces of bounded size, and told again one after the other."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from tmws_cli.transfer.records import HISTORY_OF, HISTORY_TOTAL, Record, exact_key
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.domain.memory import AccessLevel
from tmws_core.errors import InvalidField, MemoryNotFound
from tmws_core.messages.memory import ALL, CreateMemory, FormerText, GetMemory, MemoryBrief, MemoryView, UpdateMemory
from tmws_core.wire import unstructure

PIECE_BYTES = 64 * 1024
"""Of the former texts of one piece, which has at least one: six times as long in JSON, it fits into a line by far."""

PIECE_TEXTS = 100
"""In one piece: eleven times as many values, it fits into a front matter by far."""


async def exported(
    app: App, caller: Caller, memory: MemoryBrief, on_gone: Callable[[str], None]
) -> AsyncIterator[Mapping[str, Any]]:
    """Yield a memory as it is exported: itself with its oldest former texts, and then the others in pieces.

    At most a page of former texts is held at a time. What is written of a memory once is not written otherwise later,
    but for the last piece: there are more texts then. One that has former texts and is deleted meanwhile ends where it
    is, and `on_gone` hears its id.
    """
    if memory.version == 1:
        yield unstructure(memory)
        return
    try:
        async for part in _with_history(app, caller, memory.memory_id):
            yield part
    except MemoryNotFound:
        on_gone(memory.memory_id)


async def _with_history(app: App, caller: Caller, memory_id: str) -> AsyncIterator[Mapping[str, Any]]:
    request = GetMemory(memory_id=memory_id, include_history=True, oldest_first=True, max_chars=ALL)
    found = await app.call(caller, request)
    memory = found.memory
    fields: dict[str, Any] = unstructure(memory)
    if not found.history:
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
    """Return what stores a memory; one with former texts begins with the first, in a session that is its own alone.

    So nothing is merged with what it says for a moment only, and it is merged with nothing that says the same: it gets
    the session that it had with its last text.
    """
    if not record.former:
        return record.request
    first = former_beginning(record)
    return attrs.evolve(first, session_id=exact_key(first))


def former_beginning(record: Record) -> CreateMemory:
    """Return what stored a memory with former texts before it began in a session of its own; its key says so."""
    return attrs.evolve(record.request, content=record.former[0])


async def is_here(app: App, caller: Caller, record: Record) -> bool:
    """Tell whether a memory that creating would not find comes back to the very store that it was exported from.

    One that has changed would begin with its first text, one that has expired is repeated by nothing, and one that is
    another agent's, or is read by others, would come in as the caller's own.
    """
    if record.identity is None or not (record.former or record.request.expires_at or record.is_claimed):
        return False
    try:
        request = GetMemory(memory_id=record.identity, include_history=True, oldest_first=True, max_chars=ALL)
        found = await app.call(caller, request)
    except (MemoryNotFound, InvalidField):
        return False
    texts = tuple(text.content for text in found.history or ())
    same = found.memory.content == record.request.content and found.memory.expires_at == record.request.expires_at
    return same and texts[: len(record.former)] == record.former[: len(texts)] and bool(texts) == bool(record.former)


@attrs.define
class Retelling:
    """Changes a memory from text to text, from where an interrupted import has stopped; one that differs stays.

    `_told` counts the former texts that it has, and `_place` those that were heard of here.
    """

    _app: App
    _caller: Caller
    _found: MemoryView
    _record: Record
    _told: int
    _present: str
    _place: int = attrs.field(default=0, init=False)
    _differs: bool = attrs.field(default=False, init=False)

    @classmethod
    async def begun(cls, app: App, caller: Caller, record: Record, memory_id: str) -> "Retelling":
        """Look how far a memory is."""
        answer = await app.call(caller, GetMemory(memory_id=memory_id, include_history=True, max_chars=ALL))
        told = answer.history_total if answer.history_total is not None else len(answer.history or ())
        return cls(app, caller, answer.memory, record, told, answer.memory.content)

    @property
    def identity(self) -> str | None:
        """Return the id of the memory in the store that it comes from."""
        return self._record.identity

    @property
    def was_interrupted(self) -> bool:
        """Tell whether a memory that was there is one that nobody reads yet, and that is not told to its end."""
        is_private = self._found.access_level is AccessLevel.PRIVATE
        return is_private and self._found.session_id == beginning(self._record).session_id

    async def go_on(self, texts: Sequence[str]) -> None:
        """Tell the texts that follow."""
        for text in texts:
            if self._follows(text):
                await self._update(content=text)
                self._told, self._present = self._place, text
            self._place += 1

    async def end(self) -> None:
        """Tell the text that the memory has at last, in the session that it has."""
        wanted = self._record.request
        changes: dict[str, Any] = {}
        if self._found.session_id == beginning(self._record).session_id != wanted.session_id:
            changes["session_id"] = wanted.session_id
        if self._follows(wanted.content):
            changes["content"] = wanted.content
        if changes:
            await self._update(**changes)

    def _follows(self, text: str) -> bool:
        """Tell whether the memory has all texts before this one, and not this one."""
        if self._place == self._told:
            self._differs = text != self._present
        return self._place == self._told + 1 and not self._differs

    async def _update(self, **changes: Any) -> None:
        await self._app.call(self._caller, UpdateMemory(memory_id=self._found.memory_id, **changes))


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
