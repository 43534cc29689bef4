"""The import: from a file into the store, in batches, again after an interruption, and nothing twice."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

import anyio.to_thread
import attrs

from tmws_cli.transfer.history import beginning, retell
from tmws_cli.transfer.links import Links
from tmws_cli.transfer.records import Record, Refusal, reason_of
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.errors import Kind, TmwsError
from tmws_core.messages.memory import CreateMemories, CreateMemory, ListMemories, MemoryCreated

BATCH = 100
"""Memories of one transaction: long enough for the disk, short enough to lose half a second's work at a kill."""

LISTED = 100
"""Refusals that a tally names; the others are only counted."""

_OF_THE_MEMORY = frozenset({Kind.INVALID, Kind.TOO_LARGE, Kind.FORBIDDEN, Kind.NOT_FOUND, Kind.CONFLICT})
"""Kinds of errors that concern one memory; any other kind ends the import."""


class Source(Protocol):
    """Memories of a file; reading it blocks."""

    @property
    def total(self) -> int | None:
        """Return the bytes that there are, if anybody knows."""
        ...

    @property
    def position(self) -> int:
        """Return the bytes that were read."""
        ...

    def __iter__(self) -> Iterator[Record | Refusal]:
        """Yield what the file holds, in order."""
        ...


@attrs.define
class Tally:
    """What an import has done so far.

    Of the stored ones, `without_vector` wait for the embedder. `unlinked` counts replaced memories whose successor was
    not found.
    """

    stored: int = 0
    without_vector: int = 0
    already_there: int = 0
    refused: int = 0
    unlinked: int = 0
    refusals: list[Refusal] = attrs.field(factory=list)

    @property
    def done(self) -> int:
        """Count what was looked at."""
        return self.stored + self.already_there + self.refused

    def refuse(self, refusal: Refusal) -> None:
        """Count what could not be stored."""
        self.refused += 1
        if len(self.refusals) < LISTED:
            self.refusals.append(refusal)


@attrs.define(kw_only=True)
class Import:
    """One import, in the name of the caller; `on_refusal` hears of each refusal as it happens.

    With `strict` the first refusal ends it, after what stands before is stored.
    """

    app: App
    caller: Caller
    strict: bool = False
    on_refusal: Callable[[Refusal], None]
    tally: Tally = attrs.field(factory=Tally, init=False)
    _links: Links = attrs.field(init=False)
    _newest: str = attrs.field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        self._links = Links(self.app, self.caller)

    async def run(self, source: Source, report: Callable[[int, int], None]) -> Tally:
        """Store what the source holds and return the tally.

        Raises:
            TmwsError: the store failed; what was stored stays, and running it again goes on from there.
        """
        request = ListMemories(limit=1, include_expired=True, include_superseded=True)
        for memory in (await self.app.call(self.caller, request)).memories:
            self._newest = memory.memory_id
        items = iter(source)
        while found := await anyio.to_thread.run_sync(partial(self._take, items)):
            await self._store([item for item in found if isinstance(item, Record)])
            for item in found:
                if isinstance(item, Refusal):
                    self._refuse(item)
            report(source.position, self.tally.done)
            if self.strict and self.tally.refused:
                break
        self.tally.unlinked = self._links.open
        return self.tally

    def _take(self, items: Iterator[Record | Refusal]) -> list[Record | Refusal]:
        found: list[Record | Refusal] = []
        for item in items:
            found.append(item)
            ends = self.strict if isinstance(item, Refusal) else self._links.completes(item)
            if ends or len(found) == BATCH:
                break
        return found

    async def _store(self, records: list[Record]) -> None:
        if not records:
            return
        try:
            results = await self._create([beginning(record) for record in records])
        except Exception as error:
            if not _concerns_one(error):
                raise
            if len(records) == 1:
                self._refuse(Refusal(place=records[0].place, reason=reason_of(error)))
                return
            # All or none: one of them was refused, and only one by one shows which.
            for record in records:
                await self._store([record])
                if self.strict and self.tally.refused:
                    break
            return
        for record, result in zip(records, results, strict=True):
            self._count(result)
            try:
                await self._complete(record, result)
            except Exception as error:
                if not _concerns_one(error):
                    raise
                self._refuse(Refusal(place=record.place, reason=f"is not stored whole: {reason_of(error)}"))

    async def _create(self, requests: Sequence[CreateMemory]) -> tuple[MemoryCreated, ...]:
        return (await self.app.call(self.caller, CreateMemories(memories=tuple(requests)))).results

    async def _complete(self, record: Record, result: MemoryCreated) -> None:
        """Restore what creating a memory cannot say."""
        if record.former and result.duplicate_of is not None:
            # Another memory has the first text: this one is stored with its last one, without those before.
            (result,) = await self._create([record.request])
            record = attrs.evolve(record, former=())
        await self._links.restore(record, result.memory_id)
        if record.former:
            await retell(self.app, self.caller, record, result.memory_id)

    def _count(self, result: MemoryCreated) -> None:
        # Ids sort by time: what this import stored sorts behind all that was there when it looked.
        if result.memory_id > self._newest:
            self._newest = result.memory_id
            self.tally.stored += 1
            self.tally.without_vector += not result.embedding_generated
        else:
            self.tally.already_there += 1

    def _refuse(self, refusal: Refusal) -> None:
        self.tally.refuse(refusal)
        self.on_refusal(refusal)


def _concerns_one(error: Exception) -> bool:
    """Tell whether an error refuses one memory; what the store or the licence says ends the import."""
    return not isinstance(error, TmwsError) or error.kind in _OF_THE_MEMORY
