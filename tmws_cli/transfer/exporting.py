"""The export: all memories that the caller sees, page by page, oldest first."""

import os
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import anyio
import anyio.to_thread
import attrs
import orjson

from tmws_cli.transfer.history import with_history
from tmws_cli.transfer.markdown import with_front_matter
from tmws_cli.transfer.pages import OWN_FORMAT
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.errors import InvalidField, MemoryNotFound
from tmws_core.messages.memory import PAGE, GetMemory, GetMemoryStats, ListMemories

PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600
"""Modes; an export holds every private memory."""

_TAIL_BYTES = 1024 * 1024
"""Enough to hold the last line of a file that an interrupted export left: ten times the largest memory."""

Page = list[Mapping[str, Any]]


@attrs.frozen(kw_only=True)
class Export:
    """One export; `report` hears how many memories are written."""

    app: App
    caller: Caller
    report: Callable[[int, int], None]

    async def total(self) -> int:
        """Count what there is to export."""
        return (await self.app.call(self.caller, GetMemoryStats())).total

    async def to_stream(self, stream: BinaryIO) -> int:
        """Write JSON lines and return how many."""
        return await self._append(stream, after="", written=0)

    async def to_file(self, path: Path) -> int:
        """Write JSON lines beside the path, put them in its place once they are complete, and return how many.

        What an interrupted export left behind is continued if its last memory is still there, else begun anew.
        """
        partial_path = path.with_name(f"{path.name}.partial")
        with _private_file(partial_path) as file:
            last, written = await anyio.to_thread.run_sync(_resume, file)
            if last is None or not await self._exists(last):
                last, written = "", 0
                file.truncate(0)
            count = await self._append(file, after=last, written=written)
            await anyio.to_thread.run_sync(_make_durable, file)
        await anyio.Path(partial_path).replace(path)
        return count

    async def to_folder(self, folder: Path) -> int:
        """Write one Markdown file a memory, those that are there left as they are, and return how many there are."""
        await anyio.Path(folder).mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        written = 0
        async for page in self._pages(""):
            await anyio.to_thread.run_sync(_write_pages, folder, page)
            written += len(page)
            self.report(written, written)
        return written

    async def _append(self, file: BinaryIO, *, after: str, written: int) -> int:
        async for page in self._pages(after):
            lines = b"".join(orjson.dumps(memory, option=orjson.OPT_APPEND_NEWLINE) for memory in page)
            await anyio.to_thread.run_sync(partial(_write, file, lines))
            written += len(page)
            self.report(written, written)
        return written

    async def _pages(self, after: str) -> AsyncIterator[Page]:
        """Yield what comes behind the id; ids sort by time, so nothing of it is missed or repeated."""
        request = ListMemories(limit=PAGE, oldest_first=True, include_expired=True, include_superseded=True)
        while True:
            answer = await self.app.call(self.caller, request)
            wanted = [memory for memory in answer.memories if memory.memory_id > after]
            yield [await with_history(self.app, self.caller, memory) for memory in wanted]
            if answer.next_cursor is None:
                return
            request = attrs.evolve(request, cursor=answer.next_cursor)

    async def _exists(self, memory_id: str) -> bool:
        try:
            await self.app.call(self.caller, GetMemory(memory_id=memory_id))
        except (MemoryNotFound, InvalidField):
            return False
        return True


def _private_file(path: Path) -> BinaryIO:
    """Open a file for reading and for writing at its end."""
    return os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, PRIVATE_FILE), "ab+")


def _write(file: BinaryIO, lines: bytes) -> None:
    file.write(lines)
    file.flush()


def _make_durable(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _resume(file: BinaryIO) -> tuple[str | None, int]:
    """Cut a line off that is not complete; return the id of the last memory, and how many there are."""
    size = file.seek(0, os.SEEK_END)
    start = max(size - _TAIL_BYTES, 0)
    file.seek(start)
    lines = file.read().split(b"\n")
    torn = lines.pop()
    file.truncate(size - len(torn))
    try:
        last = orjson.loads(lines[-1])["memory_id"] if lines else None
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None, 0
    file.seek(0)
    return (last if isinstance(last, str) else None), sum(1 for _ in file)


def _write_pages(folder: Path, page: Page) -> None:
    for memory in page:
        path = folder / f"{memory['memory_id']}.md"
        if path.exists():
            continue
        front = {OWN_FORMAT: 1} | {name: value for name, value in memory.items() if name != "content"}
        unfinished = folder / f".{path.name}.partial"
        with _private_file(unfinished) as file:
            file.truncate(0)
            file.write(with_front_matter(front, memory["content"]).encode())
        unfinished.replace(path)
