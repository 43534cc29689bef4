"""Patience with an embedder that does not answer: nobody waits for it again and again, and its return is noticed."""

import logging
from collections.abc import AsyncIterator
from datetime import timedelta

import anyio
import attrs
import pytest

from tests.contracts.ollama_double import Fault, OllamaDouble
from tests.services.conftest import World
from tests.services.hand_clock import HandClock
from tests.stacks import FALLBACK
from tmws_adapters.bootstrap import open_app
from tmws_adapters.inprocess import InprocessBus
from tmws_adapters.ollama import open_ollama
from tmws_adapters.settings import Settings
from tmws_core.domain.events import MemoriesChanged
from tmws_core.embedding import CircuitBreaker
from tmws_core.embedding.breaker import FAILURES, FIRST_PAUSE, LONGEST_PAUSE
from tmws_core.embedding.notices import QUIET_SECONDS, Notices
from tmws_core.errors import EmbedderUnavailable, EmbeddingRefused
from tmws_core.messages.memory import CreateMemory, GetMemory
from tmws_core.messages.search import SearchMemories
from tmws_core.messages.system import HealthCheck

pytestmark = pytest.mark.anyio


@attrs.frozen
class Scene:
    """A breaker over an Ollama double, with a clock to turn."""

    breaker: CircuitBreaker
    double: OllamaDouble
    clock: HandClock
    bus: InprocessBus

    @property
    def asked(self) -> int:
        return len(self.double.asked("/api/embed"))

    async def fail(self) -> EmbedderUnavailable:
        with pytest.raises(EmbedderUnavailable) as raised:
            await self.breaker.query("word")
        return raised.value

    async def open(self) -> None:
        """Let the embedder fail, reachable but at odds, until the circuit is open."""
        self.double.fail_next(Fault.UNAUTHORIZED, times=FAILURES)
        for _ in range(FAILURES):
            await self.fail()


@pytest.fixture
async def scene(ollama: OllamaDouble) -> AsyncIterator[Scene]:
    clock, bus = HandClock(), InprocessBus()
    async with open_ollama(ollama.url, ollama.model, retry_base=timedelta(milliseconds=1)) as embedder:
        yield Scene(CircuitBreaker(embedder, clock, bus), ollama, clock, bus)


async def test_a_few_failures_in_a_row_open_the_circuit_and_calls_fail_without_being_made(scene: Scene) -> None:
    await scene.open()
    assert scene.asked == FAILURES

    refusal = await scene.fail()

    assert scene.asked == FAILURES
    assert "since 2026-01-31 12:00:00 UTC" in refusal.reason
    assert "asked again in 1 s" in refusal.reason
    assert "401: unauthorized" in refusal.reason


async def test_failures_with_a_success_between_them_leave_the_circuit_closed(scene: Scene) -> None:
    for _ in range(FAILURES):
        scene.double.fail_next(Fault.UNAUTHORIZED, times=FAILURES - 1)
        for _ in range(FAILURES - 1):
            await scene.fail()
        await scene.breaker.query("word")


async def test_after_the_pause_one_call_is_let_through_and_closes_the_circuit(scene: Scene) -> None:
    await scene.open()
    scene.clock.seconds = FIRST_PAUSE

    async with scene.bus.subscribe() as events:
        await scene.breaker.query("word")
        with anyio.fail_after(60):
            assert await anext(events) == MemoriesChanged(memory_ids=())

    await scene.breaker.query("word")
    assert scene.asked == FAILURES + 2


async def test_the_pause_doubles_with_each_failed_call_up_to_the_longest(scene: Scene) -> None:
    await scene.open()
    scene.double.fail_next(Fault.UNAUTHORIZED, times=100)
    pauses, pause = [], FIRST_PAUSE
    for _ in range(8):
        scene.clock.seconds += pause
        await scene.fail()
        asked = scene.asked
        beginning = scene.clock.seconds
        while scene.asked == asked:
            scene.clock.seconds += 0.5
            await scene.fail()
        pauses.append(scene.clock.seconds - beginning)
        pause = 2 * pauses[-1]

    assert pauses == [2.0, 8.0, 32.0, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]


async def test_only_one_call_at_a_time_tries_an_open_circuit(scene: Scene) -> None:
    await scene.open()
    scene.clock.seconds = FIRST_PAUSE
    scene.double.fail_next(Fault.HUNG)

    with anyio.CancelScope() as trying:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(scene.breaker.query, "word")
            with anyio.fail_after(60):
                while scene.asked == FAILURES:
                    await anyio.lowlevel.checkpoint()
            await scene.fail()
            trying.cancel()

    assert scene.asked == FAILURES + 1
    assert (await scene.breaker.query("word")).dimension == 64


async def give_up(scene: Scene, *texts: str, after: float, cancelled: bool = False) -> None:
    """Ask a hanging embedder, and get no answer within so many seconds of the scene's clock."""
    asked = scene.asked
    with anyio.CancelScope(deadline=anyio.current_time() + (3600 if cancelled else 0.2)) as given_up:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(scene.breaker.passages, texts)
            while scene.asked == asked:
                await anyio.lowlevel.checkpoint()
            scene.clock.seconds += after
            if cancelled:
                given_up.cancel()
    assert given_up.cancelled_caught


async def test_a_call_whose_time_ran_out_after_a_second_is_a_failure_and_after_less_is_none(scene: Scene) -> None:
    await scene.breaker.query("word")
    scene.double.fail_next(Fault.HUNG, times=100)
    scene.clock.seconds += 1
    for seconds, opened in ((0.5, False), (1.0, True)):
        for _ in range(FAILURES):
            await give_up(scene, "word", after=seconds)
        assert (await scene.breaker.health()).up is not opened


@pytest.mark.parametrize("texts", [1, 1000])
async def test_calls_that_clients_take_back_are_no_failures_however_long_they_took(scene: Scene, texts: int) -> None:
    scene.double.fail_next(Fault.HUNG, times=3 * FAILURES)
    for _ in range(3 * FAILURES):
        await give_up(scene, *["word"] * texts, after=30, cancelled=True)
    scene.double.forgive()
    assert (await scene.breaker.query("word")).dimension == 64


async def test_a_large_batch_may_take_as_long_as_its_texts(scene: Scene) -> None:
    scene.double.fail_next(Fault.HUNG, times=100)
    for _ in range(2 * FAILURES):
        await give_up(scene, *["word"] * 1000, after=30)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(scene.breaker.passages, ["word"] * 1000)
        for _ in range(FAILURES):
            await give_up(scene, "word", after=5)
        tasks.cancel_scope.cancel()
    assert (await scene.breaker.health()).up


async def test_a_large_batch_that_was_given_up_hides_no_embedder_that_hangs(scene: Scene) -> None:
    scene.double.fail_next(Fault.HUNG, times=100)
    await give_up(scene, *["word"] * 1000, after=5, cancelled=True)
    for _ in range(FAILURES):
        assert (await scene.breaker.health()).up
        await give_up(scene, "word", after=5)
    assert not (await scene.breaker.health()).up


async def test_a_call_that_waits_while_others_are_answered_is_no_failure(scene: Scene) -> None:
    await scene.breaker.query("word")
    for _ in range(2 * FAILURES):
        scene.double.fail_next(Fault.HUNG)
        asked = scene.asked
        with anyio.CancelScope(deadline=anyio.current_time() + 0.5) as given_up:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(scene.breaker.query, "slow")
                while scene.asked == asked:
                    await anyio.lowlevel.checkpoint()
                scene.clock.seconds += 5
                await scene.breaker.query("quick")
        assert given_up.cancelled_caught
    assert (await scene.breaker.health()).up


async def test_texts_that_are_refused_do_not_open_the_circuit(scene: Scene) -> None:
    scene.double.fail_next(Fault.NAN_ERROR, times=2 * FAILURES)
    for _ in range(2 * FAILURES):
        with pytest.raises(EmbeddingRefused):
            await scene.breaker.query("word")

    assert (await scene.breaker.query("word")).dimension == 64


async def test_health_tells_that_the_circuit_is_open_although_the_server_seems_well(scene: Scene) -> None:
    await scene.open()
    health = await scene.breaker.health()
    assert not health.up
    assert "asked again in" in health.reason

    scene.clock.seconds = FIRST_PAUSE
    await scene.breaker.query("word")

    assert await scene.breaker.health() == attrs.evolve(health, up=True, reason="")


def lines_about(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().split(",")[0] for record in caplog.records if "Embedder" in record.getMessage()]


async def test_each_failure_and_each_return_is_one_line_of_the_log_and_one_that_flaps_fills_no_disk(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tmws")
    for _ in range(3):
        scene.double.fail_next(Fault.UNAUTHORIZED, times=2)
        for _ in range(2):
            await scene.fail()
        scene.clock.seconds += QUIET_SECONDS
        await scene.breaker.query("word")
        await scene.breaker.query("word")
    assert lines_about(caplog) == ["⚠️ Embedder down", "✅ Embedder back after 60 s"] * 3

    caplog.clear()
    for _ in range(100):
        scene.clock.seconds += 1
        scene.double.fail_next(Fault.UNAUTHORIZED)
        await scene.fail()
        await scene.breaker.query("word")
    assert lines_about(caplog) == ["⚠️ Embedder down", "✅ Embedder back after 0 s"] * 2


async def test_a_failure_that_lasts_is_told_even_if_it_begins_right_after_another(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        scene.double.fail_next(Fault.UNAUTHORIZED)
        await scene.fail()
        await scene.breaker.query("word")
    scene.double.fail_next(Fault.UNAUTHORIZED, times=100)
    await scene.fail()
    caplog.clear()
    scene.clock.seconds += QUIET_SECONDS
    await scene.fail()
    assert lines_about(caplog) == ["⚠️ Embedder down"]


async def test_a_model_that_is_gone_is_a_failure_and_what_a_server_says_is_one_line(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.double.model = "another"
    for _ in range(5):
        await scene.fail()
    assert lines_about(caplog) == ["⚠️ Embedder down"]
    assert "ollama pull word-counter" in caplog.text

    Notices(scene.clock).failed("first\nINFO forged\u2028\x1b[31m" + "x" * 9999)
    (message,) = (record.getMessage() for record in caplog.records if "forged" in record.getMessage())
    assert message.isprintable() or message.replace("\ufe0f", "").isprintable()
    assert len(message) < 1000


async def test_a_hanging_embedder_costs_a_few_waits_and_then_none(settings: Settings, ollama: OllamaDouble) -> None:
    hasty = attrs.evolve(settings, request_timeout=2.2)
    ollama.fail_next(Fault.HUNG, times=100)
    async with open_app(hasty) as app:
        caller = hasty.agent()
        for number in range(FAILURES):
            await app.call(caller, CreateMemory(content=f"Note {number}."))
        asked = []
        for number in range(10):
            before = len(ollama.asked("/api/embed"))
            found = await app.call(caller, SearchMemories(query=f"note {number}"))
            created = await app.call(caller, CreateMemory(content=f"Another {number}."))
            asked.append(len(ollama.asked("/api/embed")) - before)
            assert (found.search_source, created.embedding_generated) == (FALLBACK, False)
        health = await app.call(caller, HealthCheck())
        ollama.stop()

    assert sorted(asked)[5] == 0
    assert health.status == "degraded"
    assert "is asked again in" in (health.components["ollama"].reason or "")


async def test_what_waits_is_embedded_as_soon_as_a_search_finds_the_embedder_back(world: World) -> None:
    athena = world.agent("athena")
    world.ollama.stop()
    created = await world.app.call(athena, CreateMemory(content="The rose blooms."))
    for _ in range(2 * FAILURES):
        await world.app.call(athena, SearchMemories(query=f"rose {anyio.current_time()}"))
    world.ollama.start()

    with anyio.fail_after(60):
        while not (await world.app.call(athena, GetMemory(memory_id=created.memory_id))).memory.embedded:
            await world.app.call(athena, SearchMemories(query=f"rose {anyio.current_time()}"))
