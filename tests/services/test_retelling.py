"""Memories with former texts, exported and imported: told whole, and to the readers of no other memory."""

import io
import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.services.conftest import World
from tmws_cli.transfer.claims import Claims
from tmws_cli.transfer.exporting import Export
from tmws_cli.transfer.history import former_beginning
from tmws_cli.transfer.importing import Import, Tally
from tmws_cli.transfer.lines import JsonLines
from tmws_core.domain.agent import Caller
from tmws_core.domain.memory import CONTENT_BYTES, AccessLevel
from tmws_core.errors import StorageUnavailable
from tmws_core.messages.memory import CreateMemory, DeleteMemory, GetMemory, ListMemories, MemoryBrief, UpdateMemory
from tmws_core.operation import Request
from tmws_core.ports.storage import FORMER_BYTES

pytestmark = pytest.mark.anyio

FIRST = "To do."


def line(number: int, last: str, *former: str, **more: Any) -> dict[str, Any]:
    """Return a memory as it is exported, with what it said before."""
    history = [{"content": text, "version": version} for version, text in enumerate(former, 1)]
    return {"memory_id": f"m{number}", "version": 1 + len(former), "written_by": "ada", "agent_id": "ada"} | {
        "content": last,
        "history": history,
        **more,
    }


async def imported(app: Any, caller: Caller, *lines: dict[str, Any]) -> Tally:
    raw = "".join(json.dumps(each) + "\n" for each in lines).encode()
    source = JsonLines(io.BytesIO(raw), len(raw), ignore_unknown=False)
    claims = Claims(owner=caller.agent_id, believed=True)
    return await Import(app=app, caller=caller, claims=claims, on_refusal=print).run(source, lambda *_: None)


async def told(world: World, caller: Caller) -> list[list[str]]:
    """Return what each memory that a caller sees has said, from its first text to its last."""
    page = await world.app.call(caller, ListMemories(oldest_first=True))
    found = [
        await world.app.call(caller, GetMemory(memory_id=memory.memory_id, include_history=True, oldest_first=True))
        for memory in page.memories
    ]
    return [[*(text.content for text in each.history or ()), each.memory.content] for each in found]


async def memories(world: World) -> tuple[MemoryBrief, ...]:
    return (await world.app.call(world.operator, ListMemories(oldest_first=True, details=True))).memories


async def test_memories_that_began_with_one_text_for_different_readers_stay_two(world: World) -> None:
    shared = [
        line(number, last, FIRST, access_level="shared", shared_with=[{"agent_id": reader, "permission": "read"}])
        for number, reader, last in ((1, "bob", "Bob gets a raise."), (2, "carl", "Carl is let go."))
    ]

    for stored in (2, 0):
        assert (await imported(world.app, world.operator, *shared)).stored == stored

    assert await told(world, world.agent("bob", "other")) == [[FIRST, "Bob gets a raise."]]
    assert await told(world, world.agent("carl", "other")) == [[FIRST, "Carl is let go."]]


async def test_what_began_with_a_text_that_another_memory_has_keeps_its_former_texts(world: World) -> None:
    await world.app.call(world.agent("ada"), CreateMemory(content=FIRST, tags=("hers",)))
    begun = [line(1, "Bread.", FIRST, "Flour."), line(2, "Milk.", FIRST, session_id="s"), line(3, FIRST)]

    tally = await imported(world.app, world.operator, *begun)

    assert (tally.stored, tally.already_there) == (2, 1)
    assert await told(world, world.operator) == [[FIRST], [FIRST, "Flour.", "Bread."], [FIRST, "Milk."]]
    assert [memory.session_id for memory in await memories(world)] == [None, None, "s"]


@pytest.mark.parametrize("given_key", [None, "k"])
@pytest.mark.parametrize("half", [False, True])
async def test_what_an_earlier_version_imported_is_found_again(
    world: World, monkeypatch: pytest.MonkeyPatch, *, half: bool, given_key: str | None
) -> None:
    whole = line(1, "Bread.", FIRST, "Flour.", session_id="s", idempotency_key=given_key)
    with monkeypatch.context() as earlier:
        earlier.setattr("tmws_cli.transfer.importing.beginning", former_beginning)
        if half:
            with pytest.raises(StorageUnavailable):
                await imported(_Interrupted(world.app, "Bread."), world.operator, whole)
        else:
            await imported(world.app, world.operator, whole)

    tally = await imported(world.app, world.operator, whole, line(2, "Milk.", FIRST))

    assert (tally.stored, tally.already_there) == (1, 1)
    assert await told(world, world.operator) == [[FIRST, "Flour.", "Bread."], [FIRST, "Milk."]]
    assert [memory.session_id for memory in await memories(world)] == ["s", None]


@attrs.frozen
class _Interrupted:
    """An app whose store goes away when a text is to be told."""

    _app: Any
    _at: str

    async def call(self, caller: Caller, request: Request[Any]) -> Any:
        if isinstance(request, UpdateMemory) and request.content == self._at:
            raise StorageUnavailable(part="store", reason="is gone", hint="")
        return await self._app.call(caller, request)


@pytest.mark.parametrize("edited", [False, True])
async def test_what_is_half_told_is_merged_with_nothing_and_gets_its_session_in_the_end(
    world: World, *, edited: bool
) -> None:
    lines = [line(1, "Bread.", FIRST, "Flour.", session_id="s")]
    with pytest.raises(StorageUnavailable):
        await imported(_Interrupted(world.app, "Bread."), world.operator, *lines)
    [half] = await memories(world)
    same = CreateMemory(content="Flour.", session_id="s", access_level=AccessLevel.PRIVATE)
    other = await world.app.call(world.agent("ada"), same)
    if edited:
        await world.app.call(world.agent("ada"), UpdateMemory(memory_id=half.memory_id, content="Salt."))

    await imported(world.app, world.operator, *lines)

    assert other.stored
    assert await told(world, world.operator) == [[FIRST, "Flour.", "Salt." if edited else "Bread."], ["Flour."]]
    assert [memory.session_id for memory in await memories(world)] == ["s", "s"]


@attrs.frozen
class _Deleting:
    """An app in which a memory is deleted behind an answer with a page of its former texts, or before the first."""

    _app: Any
    _at_once: bool

    async def call(self, caller: Caller, request: Request[Any]) -> Any:
        if isinstance(request, GetMemory) and request.cursor is None and self._at_once:
            await self._app.call(caller, DeleteMemory(memory_id=request.memory_id))
        answer = await self._app.call(caller, request)
        if isinstance(request, GetMemory) and answer.next_cursor is not None:
            await self._app.call(caller, DeleteMemory(memory_id=request.memory_id))
        return answer


@pytest.mark.parametrize("folder", [False, True], ids=["lines", "folder"])
@pytest.mark.parametrize("at_once", [False, True])
async def test_a_memory_that_is_deleted_while_it_is_exported_is_named_and_ends_nothing(
    world: World, tmp_path: Path, *, at_once: bool, folder: bool
) -> None:
    ada = world.agent("ada")
    created = await world.app.call(ada, CreateMemory(content=FIRST))
    for number in range(FORMER_BYTES // CONTENT_BYTES + 3):  # more than a page
        text = f"{number} ".ljust(CONTENT_BYTES, "x")
        await world.app.call(ada, UpdateMemory(memory_id=created.memory_id, content=text))
    behind = await world.app.call(ada, CreateMemory(content="Behind it."))
    gone: list[str] = []
    app: Any = _Deleting(world.app, at_once)
    export = Export(app=app, caller=ada, report=lambda *_: None, on_gone=gone.append)

    stream = io.BytesIO()
    count = await (export.to_folder(tmp_path / "folder") if folder else export.to_stream(stream))

    assert (gone, count) == ([created.memory_id], 1 if at_once else 2)
    if folder:
        assert (tmp_path / "folder" / f"{behind.memory_id}.md").exists()
    else:
        assert json.loads(stream.getvalue().splitlines()[-1])["memory_id"] == behind.memory_id
