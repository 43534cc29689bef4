"""One check of the parts is the answer to all who ask how the server is at the same time."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

import anyio
import attrs
import pytest
from anyio.abc import TaskGroup
from starlette.applications import Starlette

from tests.shells.serving import PATIENCE
from tests.shells.test_limits import nothing, nowhere, scope_of
from tmws_core.errors import Overloaded, RequestTimedOut, TmwsError
from tmws_core.messages.system import HealthReport
from tmws_mcp.limiting import Places
from tmws_mcp.probes import SHARED_SECONDS, Checks, probe_routes

pytestmark = pytest.mark.anyio

REPORT = HealthReport(
    status="healthy",
    version="1",
    environment="test",
    database="connected",
    ollama="not_configured",
    license="valid",
    components={},
    timestamp=datetime(2026, 1, 1, tzinfo=UTC),
)

ASKERS = 20


@attrs.define
class Parts:
    """What is asked: it answers, or fails, once it is let; `asked` counts."""

    answers: bool = True
    asked: int = 0
    let: anyio.Event = attrs.field(factory=anyio.Event)

    async def __call__(self) -> HealthReport:
        self.asked += 1
        await self.let.wait()
        if not self.answers:
            raise RequestTimedOut(seconds=1.0)
        return attrs.evolve(REPORT, version=str(self.asked))


@attrs.define
class Askers:
    """Tasks that ask, each of which can be cancelled, and what they were told."""

    tasks: TaskGroup
    checks: Checks
    told: list[str] = attrs.field(factory=list)

    async def ask(self, times: int = ASKERS) -> Sequence[anyio.CancelScope]:
        scopes = [anyio.CancelScope() for _ in range(times)]
        for scope in scopes:
            self.tasks.start_soon(self._ask, scope)
        await anyio.wait_all_tasks_blocked()
        return scopes

    async def _ask(self, scope: anyio.CancelScope) -> None:
        with scope:
            try:
                self.told.append((await self.checks.report()).version)
            except TmwsError as error:
                self.told.append(error.code)


async def test_all_who_ask_at_the_same_time_are_told_the_same() -> None:
    parts = Parts()
    async with anyio.create_task_group() as tasks:
        askers = Askers(tasks, Checks(parts))
        await askers.ask()
        parts.let.set()
    assert askers.told == ["1"] * ASKERS


async def test_an_answer_is_shared_for_a_while_and_then_asked_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    now = anyio.current_time()
    monkeypatch.setattr("tmws_mcp.probes.anyio.current_time", lambda: now)
    parts = Parts()
    parts.let.set()
    checks = Checks(parts)
    assert [(await checks.report()).version for _ in range(3)] == ["1", "1", "1"]
    now += SHARED_SECONDS - 0.01
    assert (await checks.report()).version == "1"
    now += 0.02
    parts.answers = False
    with pytest.raises(RequestTimedOut):
        await checks.report()


async def test_a_check_that_takes_long_is_made_once_for_all_who_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = anyio.current_time()
    monkeypatch.setattr("tmws_mcp.probes.anyio.current_time", lambda: now)
    parts = Parts()
    async with anyio.create_task_group() as tasks:
        askers = Askers(tasks, Checks(parts))
        await askers.ask()
        now += 5 * SHARED_SECONDS
        await askers.ask()
        parts.let.set()
        await anyio.wait_all_tasks_blocked()
        assert askers.told == ["1"] * 2 * ASKERS
        await askers.ask(1)
    assert askers.told[-1] == "2"


async def test_who_asked_first_may_go_away(monkeypatch: pytest.MonkeyPatch) -> None:
    now = anyio.current_time()
    monkeypatch.setattr("tmws_mcp.probes.anyio.current_time", lambda: now)
    parts = Parts()
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            askers = Askers(tasks, Checks(parts))
            first, *_ = await askers.ask()
            first.cancel()
            await anyio.wait_all_tasks_blocked()
            assert (parts.asked, askers.told) == (2, [])
            parts.let.set()
    assert askers.told == ["2"] * (ASKERS - 1)


async def test_all_are_told_that_the_parts_cannot_be_asked() -> None:
    parts = Parts(answers=False)
    async with anyio.create_task_group() as tasks:
        askers = Askers(tasks, Checks(parts))
        await askers.ask()
        parts.let.set()
    assert (parts.asked, askers.told) == (1, [RequestTimedOut.code] * ASKERS)


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer key"}])
async def test_who_waits_for_a_check_has_no_place_of_a_request(path: str, headers: dict[str, str]) -> None:
    parts = Parts()
    served = Places(Starlette(routes=probe_routes(parts, asks=False)), limit=1)

    async def probe() -> None:
        with suppress(Overloaded):  # who says who it is has to have a place when it goes on
            await served(scope_of(path, "GET", **headers), nothing, nowhere)

    async with anyio.create_task_group() as tasks:
        for _ in range(ASKERS):
            tasks.start_soon(probe)
        await anyio.wait_all_tasks_blocked()
        await served(scope_of("/health/live", "GET"), nothing, nowhere)
        await served(scope_of("/unknown", "GET"), nothing, nowhere)
        parts.let.set()
    assert parts.asked == 1
