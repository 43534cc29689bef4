"""Which memory each section of a page has made: kept between imports, so that what vanished from a page is noticed."""

import errno
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import attrs
import orjson

from tmws_adapters.drafts import write_durably
from tmws_adapters.private import make_directory, read_regular
from tmws_cli.transfer.pages import MarkdownPages, may_be_there
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.errors import MemoryNotFound
from tmws_core.messages.memory import GetMemory, MemoryView, UpdateMemory

_BYTES = 256 * 1024 * 1024
"""The longest file, of two million sections; a longer one is begun anew."""

WAIT_SECONDS = 60
"""For another import that is ending: of 10,000 sections that vanished it takes some seconds (decision)."""

_LOOK_SECONDS = 0.05

_Sections = dict[str, str]
"""Memory ids by the keys of sections."""

_ANYBODY = ""
"""Whose the pages were before agent and namespace were noted: each section is theirs whose its memory is."""


@attrs.frozen(kw_only=True)
class Vanished:
    """A section that is not in its page any more, and the memory that is still in force."""

    page: str
    key: str
    memory: MemoryView
    whose: str


@attrs.define
class Made:
    """What this import, and those before it, have made of pages, by whose and which page, where that is known.

    A page may belong to several projects: it is imported once for each agent and namespace.
    Pages in two folders that say the same in the same place share a memory, so that several sections may stand for one.
    Losing it costs nothing but that what vanished before is not noticed.
    """

    _path: Path
    _whose: str
    _pages: dict[tuple[str, str], _Sections] = attrs.field(factory=dict, init=False)

    @classmethod
    def beside(cls, store: Path, caller: Caller) -> "Made":
        """Begin with what is kept beside a store on this machine, for an import in the caller's name."""
        return cls(store.with_name(f"{store.name}.imports"), _whose(caller))

    def note(self, page: str, key: str, memory_id: str) -> None:
        """Note which memory stands for a section."""
        self._pages.setdefault((self._whose, page), {})[key] = memory_id

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Add what was noted to what imports have kept so far, and write down at the end what it is then.

        Other imports that end meanwhile wait for it.

        Raises:
            OSError: it cannot be written, or another import keeps the file for WAIT_SECONDS.
        """
        # A store on a server has no directory here yet.
        await anyio.to_thread.run_sync(make_directory, str(self._path.parent))
        lock = await _taken(self._path.with_name(f"{self._path.name}.lock"))
        try:
            noted, self._pages = self._pages, await anyio.to_thread.run_sync(_read, self._path)
            for (whose, page), sections in noted.items():
                self._pages.setdefault((whose, page), {}).update(sections)
                former = self._pages.get((_ANYBODY, page), {})
                for key in [key for key, memory_id in former.items() if sections.get(key) == memory_id]:
                    del former[key]
            yield
            await anyio.to_thread.run_sync(write_durably, self._path, _written(self._pages))
        finally:
            if lock is not None:
                os.close(lock)

    async def vanished(self, app: App, caller: Caller, pages: Sequence[MarkdownPages]) -> list[Vanished]:
        """Return what pages that were read to their end have no more, each memory once.

        What is not in force by now is forgotten, and so is what another section stands for, too.
        """
        lost: list[tuple[str, str, str, str]] = []
        said: set[str] = set()
        for (whose, page), sections in self._pages.items():
            if whose not in (self._whose, _ANYBODY):
                continue
            is_there = may_be_there(page)
            for key, memory_id in sections.items():
                if any(each.lacks(page, key) for each in pages):
                    lost.append((whose, page, key, memory_id))
                elif is_there:
                    said.add(memory_id)
        found: list[Vanished] = []
        for whose, page, key, memory_id in lost:
            memory = None if memory_id in said else await _in_force(app, caller, memory_id)
            if memory is None:
                del self._pages[whose, page][key]
            elif self._whose in (whose, _whose(memory)):
                found.append(Vanished(page=page, key=key, memory=memory, whose=whose))
                said.add(memory_id)
        return found

    async def prune(self, app: App, caller: Caller, vanished: Vanished) -> None:
        """Let the memory expire; it is in force again when its section is back."""
        await app.call(caller, UpdateMemory(memory_id=vanished.memory.memory_id, expires_at=app.now()))
        del self._pages[vanished.whose, vanished.page][vanished.key]


def _whose(owner: Caller | MemoryView) -> str:
    return f"{owner.agent_id} {owner.namespace}"


def _read(path: Path) -> dict[tuple[str, str], _Sections]:
    with suppress(OSError, orjson.JSONDecodeError):
        kept = _object(orjson.loads(read_regular(str(path), _BYTES)))
        owned = {_ANYBODY: kept.get("pages"), **_object(kept.get("owned"))}
        return {
            (whose, page): _texts(sections)
            for whose, pages in owned.items()
            for page, sections in _object(pages).items()
        }
    return {}


def _written(pages: Mapping[tuple[str, str], _Sections]) -> bytes:
    """Return the file: `owned` by agent and namespace, with a blank between, and `pages` of an earlier version."""
    owned: dict[str, dict[str, _Sections]] = {}
    for (whose, page), sections in pages.items():
        if sections:
            owned.setdefault(whose, {})[page] = sections
    return orjson.dumps({"pages": owned.pop(_ANYBODY, {}), "owned": owned})


async def _taken(path: Path) -> int | None:
    """Return the descriptor that holds a lock, or None where the system has none."""
    try:
        from tmws_adapters.local import lock  # noqa: PLC0415 - Windows has none
    except ImportError:
        return None
    with anyio.move_on_after(WAIT_SECONDS):
        while (held := lock.take(str(path))) is None:  # noqa: ASYNC110 - other processes have it
            await anyio.sleep(_LOOK_SECONDS)
        return held
    raise OSError(errno.EWOULDBLOCK, "another import has not ended", str(path))


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
