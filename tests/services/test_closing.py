"""What is still to be stored when the service ends is stored, or said; a store that is away holds nothing up."""

import logging
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from tests.contracts.builders import DAY, memory, new
from tests.contracts.ollama_double import hashed_vectors, ollama_double
from tests.servers.postgres import own_server
from tmws_adapters.bootstrap import open_app
from tmws_adapters.postgres import open_postgres
from tmws_adapters.settings import Settings, load_settings
from tmws_adapters.sqlite import open_sqlite
from tmws_adapters.system import SystemClock
from tmws_core.domain.audit import AuditEvent
from tmws_core.errors import AppClosed, StorageOutcomeUnknown, TmwsError
from tmws_core.messages.memory import CreateMemory, ListMemories
from tmws_core.messages.search import SearchMemories
from tmws_core.operation import Request
from tmws_core.periodic import LAST_SECONDS, periodically
from tmws_core.trail import Trail
from tmws_core.usage import Usage

pytestmark = pytest.mark.anyio

HANG = 20.0
"""Seconds that closing never takes: half of what a store that is away is waited for, and far more than LAST_SECONDS."""


async def test_what_was_noted_is_said_and_not_waited_for_while_postgresql_is_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with own_server() as server, server.database() as url:
        async with open_postgres(url) as store:
            clock = SystemClock()
            trail = Trail(storage=store.storage, clock=clock, enabled=True)
            usage = Usage(storage=store.storage, clock=clock)
            server.stop()
            with anyio.fail_after(HANG), caplog.at_level(logging.WARNING, "tmws"):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(trail.run)
                    tasks.start_soon(usage.run)
                    await anyio.wait_all_tasks_blocked()
                    trail.note(AuditEvent(timestamp=DAY, event_type="memory.read", agent_id="ada", details={}))
                    usage.note("a memory")
                    tasks.cancel_scope.cancel()
            server.start()
    assert "1 events of the audit log could not be written" in caplog.text
    assert "The uses of 1 memories could not be counted" in caplog.text


async def test_an_app_that_is_closed_says_so(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    async with open_app(settings) as app:
        ours = settings.agent()
    for call in app.call(ours, ListMemories()), app.call_wire(ours, "list_memories", {}):
        with pytest.raises(AppClosed, match=r"app: is closed\. Call it inside the block that opens it"):
            await call


async def test_a_call_that_is_overtaken_by_the_end_of_its_app_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmws_adapters.bootstrap.QUERY_TIMEOUT", timedelta(minutes=1))
    asked, closed = anyio.Event(), threading.Event()
    token = anyio.lowlevel.current_token()
    errors: dict[str, TmwsError] = {}

    def slow(texts: Sequence[str]) -> list[list[float]]:
        if any("rose" in text for text in texts):
            anyio.from_thread.run_sync(asked.set, token=token)
            assert closed.wait(HANG)
        return hashed_vectors(texts)

    with ollama_double() as ollama:
        given = {"TMWS_HOME": str(tmp_path), "TMWS_OLLAMA_BASE_URL": ollama.url, "TMWS_OLLAMA_MODEL": ollama.model}
        settings = load_settings(given, dotenv=None)

        async def call(request: Request[object]) -> None:
            try:
                await app.call(settings.agent(), request)
            except TmwsError as error:
                errors[type(request).__name__] = error

        ollama.vectors = slow
        async with anyio.create_task_group() as tasks:
            async with open_app(settings) as app:
                tasks.start_soon(call, SearchMemories(query="A rose"))
                tasks.start_soon(call, CreateMemory(content="A rose"))
                await asked.wait()
            closed.set()

    assert isinstance(errors["SearchMemories"], AppClosed)
    assert isinstance(errors["CreateMemory"], StorageOutcomeUnknown)
    assert "app: was closed during the call" in errors["CreateMemory"].message


async def test_work_that_is_under_way_when_it_is_to_end_has_a_while_and_no_longer() -> None:
    begun, ended = anyio.Event(), list[str]()

    async def never() -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("cut off")

    with anyio.fail_after(HANG):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(periodically, never, 0.0)
            await begun.wait()
            tasks.cancel_scope.cancel()
    assert ended == ["cut off", "cut off"]
    assert LAST_SECONDS * 2 < HANG


async def test_work_that_is_under_way_comes_to_its_end_and_is_done_once_more() -> None:
    go, done = anyio.Event(), list[str]()

    async def work() -> None:
        await go.wait()
        done.append("whole")

    with anyio.fail_after(HANG):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(periodically, work, 0.0)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
            go.set()
    assert done == ["whole", "whole"]


async def test_what_work_raises_comes_out_as_it_is() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await periodically(fail, 0.0)


async def test_uses_that_were_noted_while_the_store_was_down_are_counted_once_it_is_back(tmp_path: Path) -> None:
    path, away = tmp_path / "tmws.db", tmp_path / "away.db"
    one, other = memory(), memory()
    async with open_sqlite(path) as store:
        async with store.storage.write() as unit:
            await unit.changes.add([new(one), new(other)])
        usage = Usage(storage=store.storage, clock=SystemClock())
        usage.note(one.id)
        usage.note(other.id)
        path.rename(away)
        await usage.flush()
        usage.note(one.id)
        away.rename(path)
        for _ in range(2):
            await usage.flush()
        async with store.storage.read() as snapshot:
            counted = await snapshot.memories.uses([1, 2])

    assert [counted[document].count for document in (1, 2)] == [2, 1]
