"""Opening the store that the settings name: a part of the composition root."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Protocol

from tmws_adapters.settings import Settings
from tmws_core.ports.holders import Holders
from tmws_core.ports.lexical import LexicalIndex
from tmws_core.ports.license import LicenseClock
from tmws_core.ports.models import Models
from tmws_core.ports.storage import Storage
from tmws_core.ports.system import Clock
from tmws_core.ports.vector import VectorIndex


class Keeper(Protocol):
    """What loads vectors of a store into memory."""

    async def run(self) -> None:
        """Load them whenever they are wanted, until it is cancelled."""
        ...


class Housekeeping(Protocol):
    """What a store needs now and then."""

    async def run(self, clock: Clock) -> None:
        """Do it ahead of time, by the clock that memories get their times from, until it is cancelled."""
        ...


class StoredVectors(VectorIndex, Protocol):
    """An index of vectors inside a store."""

    def keeping(self, exact: VectorIndex, memory: int) -> tuple[VectorIndex, LexicalIndex, Keeper]:
        """Return such an index that has vectors in memory as well, so many bytes at most, and what loads them there.

        The store's index of words comes along, as it goes by what is in memory then.
        """
        ...


class Store(Protocol):
    """An open store; `vectors` is None where it has no index of vectors of its own."""

    @property
    def storage(self) -> Storage:
        """Memories, agents and everything else."""
        ...

    @property
    def lexical(self) -> LexicalIndex:
        """The search by words."""
        ...

    @property
    def vectors(self) -> StoredVectors | None:
        """The search by meaning."""
        ...

    @property
    def models(self) -> Models:
        """The embedding models."""
        ...

    @property
    def holders(self) -> Holders:
        """Who holds a credential."""
        ...

    @property
    def license_clock(self) -> LicenseClock:
        """When a licence was last looked at."""
        ...

    @property
    def housekeeping(self) -> Housekeeping | None:
        """What it needs now and then, or None if that is nothing."""
        ...

    @property
    def beside(self) -> Mapping[str, Callable[[], Awaitable[int | None]]]:
        """What health reports have besides the store: its replicas."""
        ...


def open_store(settings: Settings) -> AbstractAsyncContextManager[Store]:
    """Open the store; its schema is brought up to date first.

    Raises:
        ConfigurationError: TMWS_DATABASE_URL names no database.
        StorageUnavailable: the store cannot be opened.
    """
    if settings.uses_postgres:
        from tmws_adapters.postgres import STATEMENT_TIMEOUT, open_postgres  # noqa: PLC0415 - see bootstrap

        return open_postgres(
            settings.database_url,
            pool_size=settings.db_pool_size,
            max_overflow=settings.db_max_overflow,
            patience=min(STATEMENT_TIMEOUT, settings.timeout / 2),
            replicas=settings.replica_urls,
            failover=min(timedelta(seconds=settings.db_failover_seconds), settings.timeout / 2),
        )
    from tmws_adapters.sqlite import BUSY_TIMEOUT, open_sqlite  # noqa: PLC0415 - as above

    # A statement that waits for the lock cannot be cancelled when the request has run out of time.
    return open_sqlite(settings.sqlite_path, busy_timeout=min(BUSY_TIMEOUT, settings.timeout / 2))
