"""The derived index that Chroma keeps."""

import re
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
import attrs

from tmws_adapters.chroma.address import Address, parse_address
from tmws_adapters.chroma.directory import Directory
from tmws_adapters.chroma.errors import IndexDamaged, importing
from tmws_adapters.chroma.opening import Chroma, Opening
from tmws_adapters.chroma.parameters import HnswParameters
from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.domain.ranking import Hit
from tmws_core.errors import ConfigurationError
from tmws_core.ports.index import DerivedIndex, IndexChange, IndexStatus

if TYPE_CHECKING:
    from tmws_adapters.chroma.partitions import Partitions

T = TypeVar("T")

BATCH = 500
"""Changes of one request: with 384 dimensions a server on two cores takes at most 0.4 s for them (measured)."""

REQUEST_TIMEOUT = timedelta(seconds=5)
"""For one request to a server."""

_COLLECTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,200}[A-Za-z0-9]")
"""Chroma's rule for names of 3 to 512 characters, less what partitions add."""


@asynccontextmanager
async def open_chroma(
    *,
    directory: Path | None,
    url: str | None,
    collection: str = "tmws_memories",
    parameters: HnswParameters | None = None,
    request_timeout: timedelta = REQUEST_TIMEOUT,
) -> AsyncIterator[DerivedIndex]:
    """Open the index that a Chroma server keeps, or without a `url` one that this process keeps in `directory`.

    Does not wait: Chroma is loaded by the first call that needs it, and what is wrong with it is raised there.
    The directory is created if it is missing, and belongs to this process while the index is open; a reset deletes
    all that Chroma keeps there if that is damaged, or nobody else's. The names of all collections begin with
    `collection`. ConfigurationError if an argument is malformed.
    """
    chosen = parameters or HnswParameters()
    if not _COLLECTION.fullmatch(collection):
        raise ConfigurationError(
            setting="TMWS_CHROMA_COLLECTION",
            reason="is no name for a collection",
            hint="Use 3 to 200 letters, digits, dots, hyphens or underscores, a letter or digit first and last",
        )
    if url is not None:
        address = parse_address(url)
        source = partial(_open_server, address, request_timeout, collection, chosen)
        async with _opened(source, {"url": address.url, "collection": collection}, chosen) as index:
            yield index
    elif directory is not None:
        kept = Directory(directory)
        source = partial(_open_embedded, kept, collection, chosen)
        try:
            async with _opened(source, {"directory": str(directory), "collection": collection}, chosen) as index:
                yield index
        finally:
            kept.release()
    else:
        raise ConfigurationError(
            setting="TMWS_CHROMA_PERSIST_DIRECTORY", reason="is not set", hint="Set it, or TMWS_CHROMA_URL"
        )


@asynccontextmanager
async def _opened(
    source: Callable[[bool], Chroma], place: dict[str, str], parameters: HnswParameters
) -> AsyncIterator[DerivedIndex]:
    try:
        async with anyio.create_task_group() as tasks:
            opening = Opening(tasks, source)
            try:
                yield _ChromaIndex(opening, place | attrs.asdict(parameters) | {"breadth": parameters.breadth})
            finally:
                tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise (group.exceptions[0] if len(group.exceptions) == 1 else group) from None
    finally:
        with anyio.CancelScope(shield=True):
            await opening.close()


class _ChromaIndex:
    def __init__(self, opening: Opening, parameters: dict[str, str | int]) -> None:
        self._opening = opening
        self._parameters = parameters
        self._writing = anyio.Lock()

    @property
    def source(self) -> str:
        return "chroma"

    async def apply(self, changes: Sequence[IndexChange]) -> None:
        async with self._writing:
            for start in range(0, len(changes), BATCH):
                batch = changes[start : start + BATCH]
                await self._run(lambda partitions, batch=batch: partitions.apply(batch))  # type: ignore[misc]

    async def search(self, partitions: Sequence[str], query: Vector, limit: int) -> list[Hit]:
        return await self._run(lambda held: held.search(partitions, query, limit))

    async def documents(self, partition: str) -> "array[int]":
        return await self._run(lambda partitions: partitions.documents(partition))

    async def drop(self, partition: str) -> None:
        async with self._writing:
            await self._run(lambda partitions: partitions.drop(partition))

    async def reset(self, model: EmbeddingModel) -> None:
        async with self._writing:
            try:
                empty = await self._run(lambda partitions: partitions.forget())
            except IndexDamaged:
                empty = True
            if empty:
                # Chroma never deletes the files of a collection.
                await self._opening.renew()
            await self._run(lambda partitions: partitions.begin(model))

    async def status(self) -> IndexStatus:
        model = await self._run(lambda partitions: partitions.model())
        counts = await self._run(lambda partitions: partitions.counts())
        return IndexStatus(partitions=counts, model=model, parameters=self._parameters)

    async def _run(self, work: "Callable[[Partitions], T]") -> T:
        return await (await self._opening.opened()).run(work)


def _open_embedded(directory: Directory, collection: str, parameters: HnswParameters, cleared: bool) -> Chroma:  # noqa: FBT001 - see Opening
    directory.take()
    if cleared:
        directory.clear()
    with importing():  # takes 0.8 s
        from tmws_adapters.chroma.embedded import open_embedded  # noqa: PLC0415

    return open_embedded(directory, collection, parameters)


def _open_server(
    address: Address,
    timeout: timedelta,
    collection: str,
    parameters: HnswParameters,
    cleared: bool,  # noqa: ARG001, FBT001 - see Opening; a server's files are its own
) -> Chroma:
    with importing():
        from tmws_adapters.chroma.server import open_server  # noqa: PLC0415 - as above

    return open_server(address, timeout, collection, parameters)
