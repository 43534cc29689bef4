"""One store of each kind for every contract of a store."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.contracts.stores import STORES, Fresh, Store, fresh_stores, new_place, open_at
from tests.servers.postgres import PostgresServer
from tmws_adapters.postgres.connections import Connections, open_connections
from tmws_adapters.postgres.opener import Opener
from tmws_core.ports.storage import Storage


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for Chroma as long as a busy machine takes to load it."""
    monkeypatch.setattr("tmws_adapters.chroma.opening.LOADING_WAIT", timedelta(seconds=60))


@pytest.fixture(params=STORES)
def place(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_if_asked: Callable[[], PostgresServer]
) -> Iterator[str]:
    """Return where a store can be opened, which does not exist yet in a file, and is empty in PostgreSQL."""
    with new_place(request.param, tmp_path, postgres_if_asked) as created:
        yield created


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    """Return where an empty store in PostgreSQL can be opened."""
    with postgres.database() as created:
        yield created


@pytest.fixture
async def connections(url: str) -> AsyncIterator[Connections]:
    opener = Opener(url=url, statement_timeout=timedelta(seconds=30), lock_timeout=timedelta(milliseconds=200))
    async with open_connections(opener, pool_size=6, max_overflow=0, patience=timedelta(seconds=30)) as opened:
        yield opened


@pytest.fixture
async def opened(place: str) -> AsyncIterator[Store]:
    async with open_at(place) as store:
        yield store


@pytest.fixture
def storage(opened: Store) -> Storage:
    return opened.storage


@pytest.fixture(scope="module", params=STORES)
def fresh(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_if_asked: Callable[[], PostgresServer],
) -> Iterator[Fresh]:
    with fresh_stores(request.param, tmp_path_factory.mktemp("fresh"), postgres_if_asked) as opener:
        yield opener
