"""The import: from a file into the store, in batches, again after an interruption, and nothing twice."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

import anyio.to_thread
import attrs

from tmws_cli.transfer.claims import Claims
from tmws_cli.transfer.history import Retelling, beginning, former_beginning, is_here
from tmws_cli.transfer.links import Links
from tmws_cli.transfer.made import Made
from tmws_cli.transfer.pages import MarkdownPages
from tmws_cli.transfer.records import Continuation, Item, Record, Refusal, Skip, exact_key, reason_of, says_all_of
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.domain.memory import AccessLevel
from tmws_core.errors import KeyConflict, Kind, TmwsError
from tmws_core.messages.memory import CreateMemories, CreateMemory, MemoryCreated, UpdateMemory

BATCH = 100
"""Memories of one transaction: long enough for the disk, short enough to lose half a second's work at a kill."""

LISTED = 100
"""Refusals, and skips, that a tally names; the others are only counted."""

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

    def __iter__(self) -> Iterator[Item]:
        """Yield what the file holds, in order."""
        ...


@attrs.define
class Tally:
    """What an import has done so far.

    Of the stored ones, `without_vector` wait for the embedder. `merged` were there, and had something added to them;
    `superseded` were there, and had stood in a place where a page has something else now; `made_private` of these were
    read by others, who do not read what is there now. `unlinked` counts replaced memories whose successor was not
    found. `vanished` sections are in no page any more; `missing` tells where they were, and `pruned` of them have
    expired now.
    """

    stored: int = 0
    without_vector: int = 0
    already_there: int = 0
    merged: int = 0
    superseded: int = 0
    made_private: int = 0
    refused: int = 0
    unlinked: int = 0
    refusals: list[Refusal] = attrs.field(factory=list)
    skipped: int = 0
    skips: list[Skip] = attrs.field(factory=list)
    vanished: int = 0
    pruned: int = 0
    missing: list[str] = attrs.field(factory=list)

    @property
    def done(self) -> int:
        """Count what was looked at."""
        return self.stored + self.already_there + self.merged + self.refused

    def refuse(self, refusal: Refusal) -> None:
        """Count what could not be stored."""
        self.refused += 1
        if len(self.refusals) < LISTED:
            self.refusals.append(refusal)

    def miss(self, place: str, *, pruned: bool) -> None:
        """Count what is not there any more."""
        self.vanished += 1
        self.pruned += pruned
        if len(self.missing) < LISTED:
            self.missing.append(place)

    def skip(self, skip: Skip) -> None:
        """Count what holds nothing to store; many that are passed over for one reason are one."""
        for place, each in enumerate(self.skips):
            if skip.number and each.number and each.reason == skip.reason:
                self.skips[place] = Skip.of_many(each.number + skip.number, skip.words, skip.reason)
                return
        self.skipped += 1
        if len(self.skips) < LISTED:
            self.skips.append(skip)


@attrs.define(kw_only=True)
class Import:
    """One import, in the name of the caller; `on_refusal` hears of each refusal as it happens.

    What `claims` do not believe is not done. With `strict` the first refusal ends it, after what stands before is
    stored. `made` hears what stands for the sections of pages. `_places` are the keys of the entries so far that have
    ids of their own, 130 bytes each.
    """

    app: App
    caller: Caller
    claims: Claims = attrs.field(default=attrs.Factory(lambda run: Claims(owner=run.caller.agent_id), takes_self=True))
    strict: bool = False
    made: Made | None = None
    on_refusal: Callable[[Refusal], None]
    tally: Tally = attrs.field(factory=Tally, init=False)
    _links: Links = attrs.field(init=False)
    _open: Retelling | None = attrs.field(default=None, init=False)
    _going_on: tuple[str, str | None] | None = attrs.field(default=None, init=False)
    _places: set[str] = attrs.field(factory=set, init=False)
    _superseded: set[str] = attrs.field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        self._links = Links(self.app, self.caller, self.claims.believed)

    async def run(self, source: Source, report: Callable[[int, int], None]) -> Tally:
        """Store what the source holds and return the tally.

        Raises:
            TmwsError: the store failed; what was stored stays, and running it again goes on from there.
        """
        items = map(self.claims.settle, source)
        while found := await anyio.to_thread.run_sync(partial(self._take, items)):
            records = [item for item in found if isinstance(item, Record)]
            if records:
                await self._end_history()
            await self._store(records)
            for item in found:
                if isinstance(item, Refusal):
                    self._refuse(item)
                elif isinstance(item, Skip):
                    self.tally.skip(item)
                elif isinstance(item, Continuation):
                    await self._go_on(item)
            report(source.position, self.tally.done)
            if self.strict and self.tally.refused:
                break
        await self._end_history()
        self.tally.unlinked = self._links.open
        return self.tally

    def _take(self, items: Iterator[Item]) -> list[Item]:
        found: list[Item] = []
        for item in map(self._first_of_its_place, items):
            found.append(item)
            match item:
                case Refusal():
                    ends = self.strict
                case Continuation():
                    ends = True
                case Skip():
                    ends = False
                case Record():
                    ends = self._links.completes(item) or item.goes_on
            if ends or len(found) == BATCH:
                break
        return found

    def _first_of_its_place(self, item: Item) -> Item:
        """Return an item; a further text that a file has under one id is no edition of the first."""
        if not isinstance(item, Record) or not item.is_edition or item.page is not None:
            return item
        key = item.request.idempotency_key
        if key is not None and key not in self._places:
            self._places.add(key)
            return item
        return attrs.evolve(
            item, request=attrs.evolve(item.request, idempotency_key=exact_key(item.request)), is_edition=False
        )

    async def _store(self, records: list[Record]) -> None:
        if not records:
            return
        last = records[-1]
        self._going_on = (last.file, last.identity) if last.goes_on else None
        here = [await is_here(self.app, self.caller, record) for record in records]
        if any(here):
            self.tally.already_there += sum(here)
            for record, there in zip(records, here, strict=True):
                if there and record.identity is not None:
                    await self._told(record.place, self._links.restore(record, record.identity, stored=False))
            await self._store_new([record for record, there in zip(records, here, strict=True) if not there])
        else:
            await self._store_new(records)

    async def _store_new(self, records: list[Record]) -> None:
        if not records:
            return
        try:
            results = await self._create([(record, beginning(record)) for record in records])
        except Exception as error:
            if not _concerns_one(error):
                raise
            if len(records) == 1:
                self._refuse(Refusal(place=records[0].place, reason=reason_of(error)))
                return
            # All or none: one of them was refused, and only one by one shows which.
            for record in records:
                await self._store_new([record])
                if self.strict and self.tally.refused:
                    break
            return
        for record, created in zip(records, results, strict=True):
            try:
                result = await self._in_force(record, created)
                self._count(result)
                is_new = result.stored and (created.stored or result.memory_id != created.memory_id)
                await self._complete(record, result.memory_id, is_new=is_new)
            except Exception as error:
                if not _concerns_one(error):
                    raise
                self._refuse(Refusal(place=record.place, reason=f"is not stored whole: {reason_of(error)}"))

    async def _create(self, wanted: Sequence[tuple[Record, CreateMemory]]) -> Sequence[MemoryCreated]:
        """Store what is wanted of records, and return the answers."""
        try:
            request = CreateMemories(memories=tuple(memory for _, memory in wanted))
            return (await self.app.call(self.caller, request)).results
        except KeyConflict as conflict:
            if len(wanted) > 1:
                raise
            return [await self._create_beside(*wanted[0], conflict)]

    async def _create_beside(self, record: Record, memory: CreateMemory, conflict: KeyConflict) -> MemoryCreated:
        """Store what is wanted of a record whose key stands for something else, and return the answer.

        What came in as the file says, and is read by others, is there. Otherwise the key may be that of an earlier
        version, which began a memory with former texts otherwise. One that was made of what a record is called gives
        way to one that is made of all that it says. That of a place in a page gives way to none: a text that stood
        there once, and stands there again, is not the memory that was superseded since. Where it stands for a memory in
        another namespace, the page belongs to that project as well, and the place has a key of its own in this one.
        """
        # A server of another version may word the error otherwise, and name no memory.
        former = getattr(conflict, "memory_id", None)
        if record.is_claimed and former is not None:
            there = await self._links.view(former)
            if says_all_of(there, record.request):
                return MemoryCreated(
                    memory_id=former, stored=False, embedding_generated=there.embedded, embedding_latency_ms=0
                )
        if record.former:
            with suppress(KeyConflict):
                begun = await self._call(former_beginning(record))
                if begun.stored or self.claims.believed or await self._says(begun.memory_id, record):
                    return begun
        if record.given_key or former is None:
            raise conflict
        if not record.is_edition:
            return await self._call(attrs.evolve(memory, idempotency_key=exact_key(memory)))
        key = record.request.idempotency_key
        if memory.idempotency_key == key and (await self._links.view(former)).namespace != self.caller.namespace:
            own = attrs.evolve(memory, idempotency_key=f"{key}:{self.caller.namespace}")
            return (await self._create([(record, own)]))[0]
        created = await self._call(attrs.evolve(memory, idempotency_key=None))
        await self._supersede(former, created, memory)
        return created

    async def _says(self, memory_id: str, record: Record) -> bool:
        return (await self._links.view(memory_id)).content == record.request.content

    async def _call(self, memory: CreateMemory) -> MemoryCreated:
        return await self.app.call(self.caller, memory)

    async def _supersede(self, former: str, created: MemoryCreated, memory: CreateMemory) -> None:
        """Replace the memory of a former edition, and let the key of its place stand for the present one.

        It is private whoever reads the former one: sections of one name are told apart by their order, and a text that
        is put before another one must not be read by that one's readers.
        """
        before = await self._links.view(former)
        await self.app.call(self.caller, UpdateMemory(memory_id=former, superseded_by=created.memory_id))
        self.tally.superseded += 1
        self._superseded.add(former)
        await self._call(memory)
        self.tally.made_private += before.access_level is not AccessLevel.PRIVATE

    async def _in_force(self, record: Record, created: MemoryCreated) -> MemoryCreated:
        """Return what was created: anew if it was superseded in one place just now and stands in another.

        What has expired since it was stored, and does not end by the file, is in force again, unless others read it: to
        them only what is believed, or a page, brings it back.
        """
        until = record.request.expires_at
        if created.expired and (until is None or until > self.app.now()):
            if not await self._may_return(record, created.memory_id):
                memory = beginning(record)
                return await self._call(attrs.evolve(memory, idempotency_key=exact_key(memory)))
            await self.app.call(self.caller, UpdateMemory(memory_id=created.memory_id, expires_at=until))
            return attrs.evolve(created, stored=True)
        if created.stored or created.memory_id not in self._superseded:
            return created
        return await self._call(attrs.evolve(beginning(record), idempotency_key=None))

    async def _may_return(self, record: Record, memory_id: str) -> bool:
        if self.claims.believed or record.page is not None:
            return True
        return (await self._links.view(memory_id)).access_level is AccessLevel.PRIVATE

    async def _complete(self, record: Record, memory_id: str, *, is_new: bool) -> None:
        """Restore what creating a memory cannot say, and note what it was created for."""
        await self._links.restore(record, memory_id, stored=is_new)
        key = record.request.idempotency_key
        if self.made and record.page and key:
            self.made.note(record.page, key, memory_id)
        if record.former:
            retelling = await Retelling.begun(self.app, self.caller, record, memory_id)
            if not (is_new or self.claims.believed or retelling.was_interrupted):
                return
            await retelling.go_on(record.former)
            if record.goes_on:
                self._open = retelling
            else:
                await retelling.end()

    async def _go_on(self, found: Continuation) -> None:
        """Tell more former texts of the memory before; those of one that was refused, or was there, are passed over."""
        if (found.file, found.identity) != self._going_on:
            self._refuse(Refusal(place=found.place, reason="continues the history of a memory that is not before it"))
        elif self._open is not None:
            await self._told(found.place, self._open.go_on(found.former))

    async def end(self, pages: Sequence[MarkdownPages], *, prune: bool) -> None:
        """Tell what such pages have no more, and with `prune` let it expire, once they are imported to their end."""
        if self.made is None:
            return
        async with self.made.kept():
            if self.strict and self.tally.refused:
                return
            for vanished in await self.made.vanished(self.app, self.caller, pages):
                if prune:
                    await self.made.prune(self.app, self.caller, vanished)
                self.tally.miss(vanished.memory.source or vanished.page, pruned=prune)

    async def _end_history(self) -> None:
        """Give the memory whose former texts came in pieces the text that it has at last."""
        retelling, self._open = self._open, None
        if retelling is not None:
            await self._told(f"memory {retelling.identity}", retelling.end())

    async def _told(self, place: str, telling: Awaitable[None]) -> None:
        try:
            await telling
        except Exception as error:
            if not _concerns_one(error):
                raise
            self._open = None
            self._refuse(Refusal(place=place, reason=f"is not stored whole: {reason_of(error)}"))

    def _count(self, result: MemoryCreated) -> None:
        if result.stored:
            self.tally.stored += 1
            self.tally.without_vector += not result.embedding_generated
        elif result.merged:
            self.tally.merged += 1
        else:
            self.tally.already_there += 1

    def _refuse(self, refusal: Refusal) -> None:
        self.tally.refuse(refusal)
        self.on_refusal(refusal)


def _concerns_one(error: Exception) -> bool:
    """Tell whether an error refuses one memory; what the store or the licence says ends the import."""
    return not isinstance(error, TmwsError) or error.kind in _OF_THE_MEMORY
