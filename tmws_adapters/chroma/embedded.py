"""Chroma in this process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
from chromadb.api import ServerAPI
from chromadb.config import System
from chromadb.errors import ChromaError

from tmws_adapters.chroma.directory import Directory
from tmws_adapters.chroma.errors import damaged
from tmws_adapters.chroma.parameters import HnswParameters
from tmws_adapters.chroma.partitions import Partitions
from tmws_adapters.chroma.quiet import QuietSettings
from tmws_adapters.chroma.segments import check_segments


@attrs.frozen(eq=False)
class EmbeddedChroma:
    """An open Chroma over a directory that this process holds."""

    _directory: Directory
    _database: os.stat_result
    _system: System
    _partitions: Partitions

    @contextmanager
    def working(self) -> Iterator[Partitions]:
        """Lend the partitions; IndexDamaged if Chroma fails, or if the files were not what was opened all the time."""
        self._check()
        with _translated(self._directory):
            yield self._partitions
        self._check()

    def close(self) -> None:
        """Let go of the files; nobody may be working."""
        self._system.stop()

    def _check(self) -> None:
        # Chroma answers from memory and from unlinked files when its directory is deleted, and then may open new ones.
        if not self._directory.held() or not os.path.samestat(self._directory.database(), self._database):
            raise damaged(f"{self._directory.path} was deleted or replaced while it was open")


def open_embedded(directory: Directory, prefix: str, parameters: HnswParameters) -> EmbeddedChroma:
    """Open Chroma over a directory that this process holds; IndexDamaged if it cannot read what is there."""
    check_segments(directory.path)
    settings = QuietSettings(is_persistent=True, persist_directory=str(directory.path))
    # Not through a Client, which shares systems by path and would hand out the one of a directory that is gone.
    system = System(settings)
    with _translated(directory):
        api = system.instance(ServerAPI)  # type: ignore[type-abstract]  # the settings name what is made
        system.start()
    return EmbeddedChroma(directory, directory.database(), system, Partitions(api, prefix, parameters))


@contextmanager
def _translated(directory: Directory) -> Iterator[None]:
    try:
        yield
    except ChromaError as error:
        raise damaged(f"{directory.path} cannot be read or written ({error.message()})") from error
