"""Former texts: a memory is stored with its first one, and changed to the others one after the other."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import attrs

from tmws_cli.transfer.records import Record
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.errors import MemoryNotFound
from tmws_core.messages.memory import CreateMemory, GetMemory, MemoryView, UpdateMemory
from tmws_core.wire import unstructure


async def with_history(app: App, caller: Caller, memory: MemoryView) -> Mapping[str, Any]:
    """Return a memory as it is exported: with its former texts, if it has some."""
    former: list[Any] = []
    if memory.version > 1:
        with suppress(MemoryNotFound):  # since the page was read
            found = await app.call(caller, GetMemory(memory_id=memory.memory_id, include_history=True))
            memory, former = found.memory, [unstructure(each) for each in found.history or ()]
    fields: dict[str, Any] = unstructure(memory)
    return fields | ({"history": former} if former else {})


def beginning(record: Record) -> CreateMemory:
    """Return what stores a memory with its first text."""
    return attrs.evolve(record.request, content=record.former[0]) if record.former else record.request


async def retell(app: App, caller: Caller, record: Record, memory_id: str) -> None:
    """Change a memory from text to text, from where an interrupted import has stopped; one that differs stays."""
    texts = (*record.former, record.request.content)
    found = await app.call(caller, GetMemory(memory_id=memory_id, include_history=True))
    told = len(found.history or ())
    if told < len(texts) and found.memory.content == texts[told]:
        for text in texts[told + 1 :]:
            await app.call(caller, UpdateMemory(memory_id=memory_id, content=text))
