"""What creating a memory cannot say: which agents may change it, and which memory replaced it."""

from collections import defaultdict

import attrs

from tmws_cli.transfer.records import Record
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.domain.memory import SharePermission
from tmws_core.messages.memory import ALL, GetMemory, MemoryView, ShareMemory, UpdateMemory

_Former = tuple[str, str | None]
"""A memory in the store that it comes from: the file that names it, and its id there."""


@attrs.define
class Links:
    """Restores rights to write and replacements, also those that an interrupted import left behind.

    Unless the file is `_believed`, nothing is shared or replaced that was there before: what names a memory by its id
    or its text may be anybody's word. `_kept` counts those that were to be replaced.
    Former ids are those of one file: what another one calls by the same id is another memory. `_waiting` holds, by
    the former id of a memory to come, the present ids of those that it replaced: as many as there are replaced
    memories, 200 bytes each. `_present` has the present ids of all by their former ones, 360 bytes each, since a
    memory may also be replaced by an older one; those still to be stored have none.
    """

    _app: App
    _caller: Caller
    _believed: bool
    _kept: int = attrs.field(default=0, init=False)
    _awaited: set[_Former] = attrs.field(factory=set, init=False)
    _waiting: dict[_Former, list[str]] = attrs.field(factory=lambda: defaultdict(list), init=False)
    _present: dict[_Former, str | None] = attrs.field(factory=dict, init=False)

    @property
    def open(self) -> int:
        """Count the memories that stay current: their successor did not come, or they were there before."""
        return self._kept + sum(map(len, self._waiting.values()))

    def completes(self, record: Record) -> bool:
        """Tell whether this memory has replaced an earlier one, or the reverse, so that they are to be linked at once.

        Until then the replaced memory would pass for a duplicate of a later one with the same text.
        """
        own, successor = _former(record)
        follows = successor in self._present
        if record.superseded_by is not None:
            self._awaited.add(successor)
        if record.identity is not None and not record.is_edition:
            self._present.setdefault(own, None)
        return follows or own in self._awaited

    async def restore(self, record: Record, memory_id: str, *, stored: bool) -> None:
        """Restore what belongs to one memory, that was `stored` just now or was there."""
        own, successor = _former(record)
        is_to_change = stored or self._believed
        if record.writers and is_to_change:
            await self._let_write(record, memory_id)
        if own in self._present:
            self._present[own] = memory_id
        if record.superseded_by is not None and is_to_change:
            present = self._present.get(successor)
            if present is None:
                self._waiting[successor].append(memory_id)
            else:
                await self._replace(memory_id, present)
        elif record.superseded_by is not None:
            self._kept += (await self.view(memory_id)).superseded_by is None
        for former in self._waiting.pop(own, ()):
            await self._replace(former, memory_id)

    async def _let_write(self, record: Record, memory_id: str) -> None:
        # A memory that was changed since keeps the rights that it has now.
        if (await self.view(memory_id)).version == 1:
            request = ShareMemory(memory_id=memory_id, shared_with=record.writers, permission=SharePermission.WRITE)
            await self._app.call(self._caller, request)

    async def _replace(self, former: str, successor: str) -> None:
        if former != successor and (await self.view(former)).superseded_by is None:
            await self._app.call(self._caller, UpdateMemory(memory_id=former, superseded_by=successor))

    async def view(self, memory_id: str) -> MemoryView:
        """Return a memory as it is now."""
        return (await self._app.call(self._caller, GetMemory(memory_id=memory_id, max_chars=ALL))).memory


def _former(record: Record) -> tuple[_Former, _Former]:
    """Return what a memory and its successor were called; one without an id, or without a successor, is no key."""
    return (record.file, record.identity), (record.file, record.superseded_by)
