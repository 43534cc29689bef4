"""What every test shares."""

import gc
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.servers.postgres import PostgresServer, open_server
from tests.servers.redis import RedisProcess, encrypted_redis, guarded_redis
from tests.servers.redis_groups import Cluster, SentinelGroup, cluster, sentinel_group
from tests.stacks import PRODUCTION, Servers, production

# Whoever imports these first, their assertions say what was compared.
pytest.register_assert_rewrite("tests.faults.clients", "tests.faults.journal")

# A background job is born deaf to interrupts, and would pass that on to the processes under test.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes tells how busy the machine is.
settings.register_profile("tmws", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tmws")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out of the production stack what only an embedded one has."""
    if not PRODUCTION:
        return
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("embedded")])
    items[:] = [item for item in items if not item.get_closest_marker("embedded")]


def pytest_collection_finish() -> None:
    """Keep what all tests are made of out of the collector's sight, which would look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with open_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_if_asked(request: pytest.FixtureRequest) -> Callable[[], PostgresServer]:
    """Return what starts the server, so that tests of other stores do without."""

    def server() -> PostgresServer:
        started = request.getfixturevalue("postgres")
        assert isinstance(started, PostgresServer)
        return started

    return server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisProcess]:
    with guarded_redis() as server:
        yield server


@pytest.fixture(scope="session")
def redis_tls() -> Iterator[RedisProcess]:
    with encrypted_redis() as server:
        yield server


@pytest.fixture(scope="session")
def redis_sentinels() -> Iterator[SentinelGroup]:
    with sentinel_group() as group:
        yield group


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[Cluster]:
    with cluster() as group:
        yield group


@pytest.fixture(scope="session", autouse=PRODUCTION)
def stack(postgres_if_asked: Callable[[], PostgresServer]) -> Iterator[Servers]:
    """The production stack: `stacked` names it from now on."""
    with production(postgres_if_asked()) as running:
        yield running


@pytest.fixture(autouse=PRODUCTION)
def _databases_end_with_their_test(request: pytest.FixtureRequest, stack: Servers) -> Iterator[None]:
    directory = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if isinstance(directory, Path):
        stack.forget(directory)
