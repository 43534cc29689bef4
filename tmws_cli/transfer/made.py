"""Which memory each section of a page has made: kept between imports, so that what vanished from a page is noticed."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio.to_thread
import attrs
import orjson

from tmws_adapters.drafts import write_durably
from tmws_adapters.private import read_regular
from tmws_cli.transfer.pages import MarkdownPages, may_be_there
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.errors import MemoryNotFound
from tmws_core.messages.memory import GetMemory, MemoryView, UpdateMemory

_BYTES = 256 * 1024 * 1024
"""The longest file, of two million sections; a longer one is begun anew."""

_Sections = dict[str, str]
"""Memory ids by the keys of sections."""


@attrs.frozen(kw_only=True)
class Vanished:
    """A section that is not in its page any more, and the memory that is still in force."""

    page: str
    key: str
    memory: MemoryView


@attrs.define
class Made:
    """What imports have made of pages, by the page, and the memories that were pruned; nothing where that is not known.

    Pages in two folders that say the same in the same place share a memory, so that several sections may stand for one.
    Losing it costs nothing but that what vanished before is not noticed.
    """

    _path: Path
    _pages: dict[str, _Sections] = attrs.field(factory=dict, init=False)
    _pruned: set[str] = attrs.field(factory=set, init=False)

    @classmethod
    def beside(cls, store: Path) -> "Made":
        """Read what is kept beside a store on this machine."""
        made = cls(store.with_name(f"{store.name}.imports"))
        with suppress(OSError, orjson.JSONDecodeError):
            kept = orjson.loads(read_regular(str(made._path), _BYTES))
            made._pages = {page: _texts(sections) for page, sections in _object(_object(kept).get("pages")).items()}
            pruned = _object(kept).get("pruned")
            made._pruned = {each for each in pruned if isinstance(each, str)} if isinstance(pruned, list) else set()
        return made

    def note(self, page: str, key: str, memory_id: str) -> bool:
        """Note which memory stands for a section, and tell whether it is one that was pruned."""
        self._pages.setdefault(page, {})[key] = memory_id
        was_pruned = memory_id in self._pruned
        self._pruned.discard(memory_id)
        return was_pruned

    async def vanished(self, app: App, caller: Caller, pages: Sequence[MarkdownPages]) -> list[Vanished]:
        """Return what pages that were read to their end have no more, each memory once.

        What is not in force by now is forgotten, and so is what another section stands for, too.
        """
        lost: list[tuple[str, str, str]] = []
        said: set[str] = set()
        for page, sections in self._pages.items():
            is_there = may_be_there(page)
            for key, memory_id in sections.items():
                if any(each.lacks(page, key) for each in pages):
                    lost.append((page, key, memory_id))
                elif is_there:
                    said.add(memory_id)
        found: list[Vanished] = []
        for page, key, memory_id in lost:
            memory = None if memory_id in said else await _in_force(app, caller, memory_id)
            if memory is None:
                del self._pages[page][key]
            else:
                found.append(Vanished(page=page, key=key, memory=memory))
                said.add(memory_id)
        return found

    async def prune(self, app: App, caller: Caller, vanished: Vanished) -> None:
        """Let the memory expire; it is in force again when its section is back."""
        await app.call(caller, UpdateMemory(memory_id=vanished.memory.memory_id, expires_at=app.now()))
        self._pruned.add(self._pages[vanished.page].pop(vanished.key))

    async def keep(self) -> None:
        """Write it down."""
        pages = {page: sections for page, sections in self._pages.items() if sections}
        content = orjson.dumps({"pages": pages, "pruned": sorted(self._pruned)})
        await anyio.to_thread.run_sync(write_durably, self._path, content)


async def _in_force(app: App, caller: Caller, memory_id: str) -> MemoryView | None:
    """Return a memory that is found without being asked for by its id."""
    try:
        memory = (await app.call(caller, GetMemory(memory_id=memory_id))).memory
    except MemoryNotFound:
        return None
    ended = memory.expires_at is not None and memory.expires_at <= app.now()
    return None if ended or memory.superseded_by is not None else memory


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> _Sections:
    return {key: each for key, each in _object(value).items() if isinstance(each, str)}
