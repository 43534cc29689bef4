"""The stores that every contract holds for, each opened as in production."""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

import anyio

from tests.servers.postgres import TEMPLATE, PostgresServer
from tmws_adapters.postgres import open_postgres
from tmws_adapters.sqlite import open_sqlite
from tmws_core.ports.holders import Holders
from tmws_core.ports.lexical import LexicalIndex
from tmws_core.ports.license import LicenseClock
from tmws_core.ports.models import Models
from tmws_core.ports.storage import Storage

STORES = ("sqlite", "postgresql")


class Store(Protocol):
    """An open store."""

    @property
    def storage(self) -> Storage: ...

    @property
    def lexical(self) -> LexicalIndex: ...

    @property
    def models(self) -> Models: ...

    @property
    def holders(self) -> Holders: ...

    @property
    def license_clock(self) -> LicenseClock: ...


Fresh = Callable[[], AbstractAsyncContextManager[Store]]
"""Opens an empty store, another one each time."""


@contextmanager
def fresh_stores(kind: str, directory: Path, server: Callable[[], PostgresServer]) -> Iterator[Fresh]:
    """Yield what opens empty stores of a kind; `server` is asked for its database server where the kind needs one."""
    yield _fresh_files(directory) if kind == "sqlite" else _fresh_databases(server())


def _fresh_files(directory: Path) -> Fresh:
    empty = directory / "empty.db"

    async def create() -> None:
        async with open_sqlite(empty):
            pass

    anyio.run(create)

    @asynccontextmanager
    async def fresh() -> AsyncIterator[Store]:
        path = directory / "fresh.db"
        shutil.copy(empty, path)
        async with open_sqlite(path, synchronous="NORMAL") as store:
            yield store

    return fresh


def _fresh_databases(server: PostgresServer) -> Fresh:
    @asynccontextmanager
    async def fresh() -> AsyncIterator[Store]:
        with server.database() as url:
            async with open_postgres(url) as store:
                yield store

    return fresh


def open_at(place: str) -> AbstractAsyncContextManager[Store]:
    """Open the store at a URL of PostgreSQL, or in a file."""
    if place.startswith("postgresql://"):
        # Enough connections for units to run beside each other, which is what some contracts are about.
        return open_postgres(place, pool_size=5, max_overflow=25)
    return open_sqlite(Path(place), synchronous="NORMAL")


@contextmanager
def new_place(
    kind: str, directory: Path, server: Callable[[], PostgresServer], template: str = TEMPLATE
) -> Iterator[str]:
    """Yield where a store can be opened that nobody has opened yet."""
    if kind == "sqlite":
        yield str(directory / "tmws.db")
    else:
        with server().database(template) as url:
            yield url


@asynccontextmanager
async def open_store(kind: str, directory: Path, server: Callable[[], PostgresServer]) -> AsyncIterator[Store]:
    """Open one empty store of a kind."""
    if kind == "sqlite":
        async with open_sqlite(directory / "tmws.db", synchronous="NORMAL") as store:
            yield store
    else:
        async with _fresh_databases(server())() as store:
            yield store
