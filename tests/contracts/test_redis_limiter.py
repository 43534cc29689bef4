"""Limits that servers count together: the same answers as the function of the domain, at the server's time."""

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contracts.redis_steps import let_pass, running
from tests.servers.redis import RedisProcess, redis_process
from tmws_core.domain import gcra
from tmws_core.ports.limits import Rate

pytestmark = pytest.mark.anyio

KEY = "tmws:limit:a"
RATE = Rate(requests=3, seconds=60)

PERIODS = (1000, 60_007)
"""Milliseconds; the requests of the second one come at times that are no whole microseconds."""


@pytest.fixture
def server(redis_server: RedisProcess) -> RedisProcess:
    redis_server.send("FLUSHALL")
    return redis_server


@given(
    requests=st.integers(1, 7), milliseconds=st.sampled_from(PERIODS), waits=st.lists(st.floats(0, 0.6), max_size=25)
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_each_answer_is_that_of_the_domain(
    server: RedisProcess, requests: int, milliseconds: int, waits: list[float]
) -> None:
    rate = Rate(requests=requests, seconds=milliseconds / 1000)
    arrival = passed = 0
    async with running(server.url) as redis:
        await redis.server.command("DEL", KEY)
        for wait in waits:
            step = int(wait * milliseconds)
            await let_pass(redis.server, KEY, step)
            passed += step * 1000
            answer, now = await redis.limiter.counted("a", rate)
            arrival, expected = gcra.take(arrival, (now + passed) * 1000, rate.requests, rate.seconds)
            assert answer / 1e9 == expected


async def test_servers_count_together(server: RedisProcess) -> None:
    async with running(server.url) as one, running(server.url) as other:
        assert [await redis.limiter.take("a", RATE) > 0 for redis in (one, other, one, other)] == [
            False,
            False,
            False,
            True,
        ]


async def test_tasks_of_servers_that_ask_at_once_do_not_get_more_together(server: RedisProcess) -> None:
    waits = []
    async with running(server.url) as one, running(server.url) as other, anyio.create_task_group() as tasks:

        async def ask(number: int) -> None:
            waits.append(await (one, other)[number % 2].limiter.take("a", Rate(requests=40, seconds=3600)))

        for number in range(200):
            tasks.start_soon(ask, number)
    assert waits.count(0) == 40


async def test_a_key_is_forgotten_when_all_its_requests_are_back(server: RedisProcess) -> None:
    async with running(server.url) as redis:
        await redis.limiter.take("a", RATE)
        assert 0 < await redis.server.command("PTTL", KEY) <= 20_000
        await redis.limiter.take("a", RATE)
        assert 20_000 < await redis.server.command("PTTL", KEY) <= 40_000


async def test_a_clock_that_was_set_back_keeps_nobody_out_for_longer_than_a_period(server: RedisProcess) -> None:
    async with running(server.url) as redis:
        _, now = await redis.limiter.counted("a", RATE)
        await redis.server.command("SET", KEY, f"{now + 3_600_000_000}.0")
        assert 19 < await redis.limiter.take("a", RATE) <= 20


async def test_a_large_limit_is_counted_exactly(server: RedisProcess) -> None:
    rate = Rate(requests=999_999_999, seconds=86_400)
    async with running(server.url) as redis:
        assert [await redis.limiter.take("a", rate) for _ in range(3)] == [0, 0, 0]


async def test_without_redis_limits_are_counted_here_until_it_is_back() -> None:
    with redis_process() as server:
        async with running(server.url) as redis:
            assert await redis.limiter.take("a", RATE) == 0
            server.stop()
            assert [await redis.limiter.take("a", RATE) > 0 for _ in range(4)] == [False, False, False, True]
            server.start()
            with anyio.fail_after(60):
                await redis.server.up()
            assert await redis.limiter.take("a", RATE) == 0
