"""The contract of RateLimiter."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import anyio
import attrs
import pytest

from tests.contracts.redis_steps import KINDS, let_pass, running, url_of
from tmws_adapters.inprocess import InprocessLimiter
from tmws_core.ports.limits import Rate, RateLimiter

pytestmark = pytest.mark.anyio

RATE = Rate(requests=3, seconds=6)


@attrs.define
class Hands:
    """A clock that is moved by hand; what it says of the day may jump, too."""

    seconds: float = 1e6
    day: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.day

    def monotonic(self) -> float:
        return self.seconds


@attrs.define
class Limits:
    """A limiter, and a way to let time pass for it; `late` is the seconds that pass by themselves."""

    limiter: RateLimiter
    wait: Callable[[float], Awaitable[None]]
    late: float = 0.0

    async def taken(self, key: str, times: int, rate: Rate = RATE) -> int:
        return [await self.limiter.take(key, rate) for _ in range(times)].count(0)

    async def is_told_to_wait(self, seconds: float) -> bool:
        return await self.limiter.take("a", RATE) == pytest.approx(seconds, abs=self.late)


@pytest.fixture(params=["inprocess", *KINDS])
async def limits(request: pytest.FixtureRequest) -> AsyncIterator[Limits]:
    if request.param == "inprocess":
        clock = Hands()

        async def wait(seconds: float) -> None:
            clock.seconds += seconds

        yield Limits(InprocessLimiter(clock), wait)
        return
    async with running(url_of(request, request.param)) as redis:
        await redis.server.command("DEL", "tmws:limit:a")
        await redis.server.command("DEL", "tmws:limit:b")

        async def pass_by(seconds: float) -> None:
            await let_pass(redis.server, "tmws:limit:a", int(seconds * 1000))

        yield Limits(redis.limiter, pass_by, late=0.4)


async def test_all_requests_of_the_period_may_come_at_once(limits: Limits) -> None:
    assert await limits.taken("a", 5) == 3


async def test_one_that_is_refused_is_told_how_long_to_wait_and_takes_nothing(limits: Limits) -> None:
    await limits.taken("a", 3)
    assert await limits.is_told_to_wait(2)
    assert await limits.is_told_to_wait(2)
    await limits.wait(1.5)
    assert await limits.is_told_to_wait(0.5)
    await limits.wait(0.6)
    assert await limits.taken("a", 2) == 1


async def test_an_idle_key_has_all_its_requests_back_and_no_more(limits: Limits) -> None:
    await limits.taken("a", 3)
    await limits.wait(1000)
    assert await limits.taken("a", 5) == 3


async def test_keys_do_not_touch_one_another(limits: Limits) -> None:
    await limits.taken("a", 3)
    assert await limits.taken("b", 5) == 3


async def test_tasks_that_ask_at_once_do_not_get_more_together(limits: Limits) -> None:
    waits = []

    async def ask() -> None:
        waits.append(await limits.limiter.take("a", Rate(requests=40, seconds=3600)))

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(ask)
    assert waits.count(0) == 40


async def test_a_day_that_jumps_changes_nothing() -> None:
    clock = Hands()
    limiter = InprocessLimiter(clock)
    for _ in range(3):
        await limiter.take("a", RATE)
    for year in (1970, 2099):
        clock.day = datetime(year, 1, 1, tzinfo=UTC)
        assert await limiter.take("a", RATE) == pytest.approx(2)


async def test_memory_is_bounded_and_those_who_ask_are_remembered() -> None:
    limiter = InprocessLimiter(Hands(), capacity=100)
    await limiter.take("busy", Rate(requests=1, seconds=60))
    for number in range(1000):
        await limiter.take(f"passer-by {number}", RATE)
        assert len(limiter) <= 100
        assert await limiter.take("busy", Rate(requests=1, seconds=60)) > 0


async def test_keys_that_have_everything_back_are_forgotten() -> None:
    clock = Hands()
    limiter = InprocessLimiter(clock)
    for number in range(100):
        await limiter.take(f"passer-by {number}", RATE)
    clock.seconds += 10
    for number in range(60):
        await limiter.take(f"later {number}", RATE)
    assert len(limiter) == 60
