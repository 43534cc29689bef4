"""The export: the memories that the caller sees, all or an agent's or a namespace's, page by page, oldest first."""

import os
import stat
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import anyio
import anyio.to_thread
import attrs
import orjson

from tmws_adapters.drafts import clear_away, draft_of, sync_directory
from tmws_adapters.private import make_directory
from tmws_cli.transfer.files import label
from tmws_cli.transfer.history import exported
from tmws_cli.transfer.markdown import with_front_matter
from tmws_cli.transfer.pages import OWN_FORMAT
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.errors import InvalidField
from tmws_core.messages.memory import ALL, PAGE, Filters, ListMemories, MemoryBrief

OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""The rights that nobody else has to what was exported."""

WRITTEN_BYTES = 1024 * 1024
"""Of lines that are written at once, at least: a page of memories of ordinary length has fewer."""

LATER = "texts"
"""In the name of a file with more former texts: it comes behind that of its memory, which has none of its own here."""

Page = Sequence[MemoryBrief]


@attrs.frozen(kw_only=True)
class Export:
    """One export of the filters' agent and namespace, or of everything.

    `report` hears how many memories are written, and `on_gone` of one that was deleted meanwhile.
    """

    app: App
    caller: Caller
    report: Callable[[int, int], None]
    filters: Filters = attrs.field(factory=Filters)
    on_gone: Callable[[str], None] = attrs.field(default=lambda _memory_id: None)

    async def is_empty(self) -> bool:
        """Tell whether nothing passes the filters."""
        return not (await self.app.call(self.caller, attrs.evolve(self._request, limit=1))).memories

    async def to_stream(self, stream: BinaryIO) -> int:
        """Write JSON lines and return how many."""
        return await self._append(stream)

    async def to_file(self, path: Path) -> int:
        """Write JSON lines beside the path, put them in its place once they are complete, and return how many.

        What an interrupted export left behind is removed: it may tell of another day, or of another caller.
        """
        check_target(path)
        await anyio.to_thread.run_sync(clear_away, path.parent, path.name)
        with draft_of(path) as draft:
            count = await self._append(draft.file)
            await anyio.to_thread.run_sync(draft.complete)
        return count

    async def to_folder(self, folder: Path) -> int:
        """Write one Markdown file a memory, each complete or not at all, and return how many there are.

        A file that says the same already stays as it is.
        """
        await anyio.to_thread.run_sync(make_directory, str(folder))
        await anyio.to_thread.run_sync(clear_away, folder)
        written = 0
        async for page in self._pages():
            for memory in page:
                number = 0
                async for part in exported(self.app, self.caller, memory, self.on_gone):
                    number += 1
                    name = f"{memory.memory_id}.md" if number == 1 else f"{memory.memory_id}.{LATER}-{number:06}.md"
                    await anyio.to_thread.run_sync(_write_page, folder / name, part)
                written += number > 0
            self.report(written, written)
        for changed in (folder, folder.parent):
            await anyio.to_thread.run_sync(sync_directory, changed)
        return written

    async def _append(self, file: BinaryIO) -> int:
        written = 0
        async for page in self._pages():
            lines = bytearray()
            for memory in page:
                begun = False
                async for part in exported(self.app, self.caller, memory, self.on_gone):
                    begun = True
                    lines += orjson.dumps(part, option=orjson.OPT_APPEND_NEWLINE)
                    if len(lines) > WRITTEN_BYTES:
                        await anyio.to_thread.run_sync(_write, file, bytes(lines))
                        lines.clear()
                written += begun
            await anyio.to_thread.run_sync(_write, file, bytes(lines))
            self.report(written, written)
        return written

    @property
    def _request(self) -> ListMemories:
        return ListMemories(
            agent_id=self.filters.agent_id,
            namespace=self.filters.namespace,
            limit=PAGE,
            oldest_first=True,
            include_expired=True,
            include_superseded=True,
            max_chars=ALL,
            details=True,
        )

    async def _pages(self) -> AsyncIterator[Page]:
        request = self._request
        while True:
            answer = await self.app.call(self.caller, request)
            yield answer.memories
            if answer.next_cursor is None:
                return
            request = attrs.evolve(request, cursor=answer.next_cursor)


def check_target(target: Path) -> None:
    """Refuse a place where something else than a file that may be replaced stands.

    Raises:
        InvalidField: it does.
    """
    try:
        mode = target.lstat().st_mode
    except OSError:  # nothing is there, or what writes there will tell
        return
    if stat.S_ISLNK(mode):
        return
    if not stat.S_ISREG(mode):
        reason, hint = "is no regular file", "Name another one, or give `-` and redirect stdout"
    elif not mode & stat.S_IWUSR:
        reason, hint = "is read-only", "Name another file, or give yourself the right to write it"
    else:
        return
    raise InvalidField(name="path", reason=f"{label(str(target))} {reason}", hint=hint)


def _write(file: BinaryIO, lines: bytes) -> None:
    file.write(lines)
    file.flush()


def _write_page(path: Path, part: Mapping[str, Any]) -> None:
    front = {OWN_FORMAT: 1} | {name: value for name, value in part.items() if name != "content"}
    content = with_front_matter(front, part.get("content", "")).encode()
    if not _holds(path, content):
        check_target(path)
        with draft_of(path) as draft:
            draft.file.write(content)
            draft.place()


def _holds(path: Path, content: bytes) -> bool:
    """Tell whether a private file, and no link, has this content."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        plain = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & OTHERS
        return plain and found.st_size == len(content) and file.read(len(content) + 1) == content
