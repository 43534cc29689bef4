"""What other processes do with an embedded Chroma: `python -m tests.contracts.chroma_child ACTION DIRECTORY`.

hold     take the directory, print a line, and keep it until stdin ends
fill     reset the index, then apply batches of BATCH documents, and print how many were acknowledged after each
quiet    log at INFO, use the index once, and print nothing
blocked  hold the import of Chroma up, and print what a call says before and after
"""

import logging
import sys
import threading
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from itertools import count
from pathlib import Path
from types import ModuleType

import anyio

from tests.contracts.builders import vector
from tmws_adapters.chroma import open_chroma
from tmws_core.domain.embedding import EmbeddingModel
from tmws_core.errors import IndexLoading, IndexUnavailable
from tmws_core.ports.index import DerivedIndex, IndexChange

MODEL = EmbeddingModel(name="tests/two", dimension=2)
BATCH = 100


def say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def changes(start: int) -> list[IndexChange]:
    return [
        IndexChange(document=document, partition="a", vector=vector(1, document / 1000))
        for document in range(start, start + BATCH)
    ]


async def loaded(index: DerivedIndex) -> None:
    """Wait until the index is open, however slow the machine is."""
    with anyio.fail_after(60):
        while True:
            try:
                await index.status()
            except IndexLoading:
                continue
            return


async def hold(directory: Path) -> None:
    async with open_chroma(directory=directory, url=None) as index:
        await loaded(index)
        say("held")
        await anyio.to_thread.run_sync(sys.stdin.read)


async def fill(directory: Path) -> None:
    async with open_chroma(directory=directory, url=None) as index:
        await loaded(index)
        await index.reset(MODEL)
        for start in count(0, BATCH):
            await index.apply(changes(start))
            say(start + BATCH)


async def quiet(directory: Path) -> None:
    logging.basicConfig(level=logging.INFO)
    async with open_chroma(directory=directory, url=None) as index:
        await loaded(index)
        await index.reset(MODEL)
        await index.apply(changes(0))
        await index.search(["a"], vector(1, 0), 1000)


class Barrier(MetaPathFinder):
    """Lets nobody import Chroma before it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> None:
        if name == "chromadb":
            self.opened.wait()


async def blocked(directory: Path) -> None:
    barrier = Barrier()
    sys.meta_path.insert(0, barrier)
    async with open_chroma(directory=directory, url=None) as index:
        say("chromadb" in sys.modules)
        try:
            await index.status()
        except IndexUnavailable as error:
            say(error.reason)
        barrier.opened.set()
        await loaded(index)
        await index.reset(MODEL)
        say((await index.status()).model == MODEL)


if __name__ == "__main__":
    anyio.run({"hold": hold, "fill": fill, "quiet": quiet, "blocked": blocked}[sys.argv[1]], Path(sys.argv[2]))
