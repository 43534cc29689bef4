"""Moving house: all that a store holds, to another place or another kind of store."""

import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress

import attrs

from tmws_adapters.auditing import auditing_of, position_of
from tmws_adapters.inprocess import InprocessPosition
from tmws_adapters.local.lock import take
from tmws_adapters.local.place import Place
from tmws_adapters.settings import Settings
from tmws_adapters.sql.copying import Pass, copy, summed, verify
from tmws_adapters.sql.tables import (
    AGENTS,
    API_KEYS,
    AUDIT_HEAD,
    LICENSE_CLOCK,
    MODELS,
    REVOKED_TOKENS,
    TABLES,
    Origin,
    Tables,
)
from tmws_adapters.stores import open_store
from tmws_adapters.system import SystemClock
from tmws_core.domain.chain import Checkpoint
from tmws_core.errors import ConfigurationError, MoveUnfinished, StorageBusy, StorageUnavailable

SETTING = "TMWS_DATABASE_URL"

PASSES = 3
"""How often the source is copied while others write to it: each pass takes as long as the former one left to do."""

_FROM_THE_BEGINNING = (AUDIT_HEAD, LICENSE_CLOCK)
"""Tables that hold a row in a store that nobody has used."""

_TELLING = (AGENTS, MODELS, API_KEYS, REVOKED_TOKENS, AUDIT_HEAD)
"""Small tables that differ when a store was used, beside its count of changes."""


@attrs.frozen(kw_only=True)
class Moved:
    """What a move has done: rows by table, and how many of them were written now.

    It is `settled` if nothing was written to the source meanwhile. `proven` tells whether the audit log was verified in
    the target by the signed position of the source, which is kept for the target then; None if the source has none.
    """

    rows: dict[str, int]
    digests: dict[str, str]
    written: dict[str, int]
    passes: int
    settled: bool
    proven: bool | None


@attrs.frozen
class Move:
    """A move between two stores that are open."""

    _source: Tables
    _target: Tables
    _leaving: Settings
    _arriving: Settings

    async def total(self) -> int:
        """Count the rows of the source."""
        async with self._source.snapshot() as snapshot:
            return sum([await snapshot.count(table) for table in TABLES])

    async def run(self, report: Callable[[int, int], None]) -> Moved:
        """Copy until nothing was written to the source meanwhile, PASSES times at most, and verify.

        `report` hears how many rows the first pass has looked at. Interrupted at any moment, it is completed by the
        next run; who runs it after it has ended brings the target up to date.

        Raises:
            StorageCorrupt: the target does not hold what the source held.
        """
        written = dict.fromkeys((table.name for table in TABLES), 0)
        looked = 0

        def count(rows: int) -> None:
            nonlocal looked
            looked += rows
            report(looked, looked)

        # Taken before the rows are copied, it is a position of what is copied.
        position = await position_of(self._leaving).last()
        await self._target.keep_origin(Origin(self._leaving.store_name, None))
        for number in range(1, PASSES + 1):
            done = await copy(self._source, self._target, count if number == 1 else lambda _: None)
            written = {name: written[name] + done.written[name] for name in written}
            settled = await self._is_unchanged(done)
            if settled or number == PASSES:
                break
        await verify(done, self._target)
        await self._target.keep_origin(Origin(self._leaving.store_name, await _seal(self._target)))
        return Moved(
            rows={name: each.rows for name, each in done.sums.items()},
            digests={name: each.digest for name, each in done.sums.items()},
            written=written,
            passes=number,
            settled=settled,
            proven=None if position is None else await _carry(position, self._arriving),
        )

    async def _is_unchanged(self, done: Pass) -> bool:
        async with self._source.snapshot() as snapshot:
            return await snapshot.standing() == done.standing


@asynccontextmanager
async def open_move(source: Settings, target: Settings, named: str = SETTING) -> AsyncIterator[Move]:
    """Open two stores to move one to the other; the source may be in use, the target belongs to the move.

    `named` is what named the source, for errors that say what to correct.

    Raises:
        ConfigurationError: both are the same, or the target holds something else.
        StorageBusy: the target is in use.
        StorageUnavailable: one of them cannot be opened, or there is nothing at the source.
    """
    with _naming(named):
        own = source.store_name
    with _naming("--to"):
        other = target.store_name
    if own == other:
        raise ConfigurationError(setting="--to", reason="is the same store as --from", hint="Name another database")
    async with AsyncExitStack() as stack:
        with _naming(named):
            leaving = await stack.enter_async_context(_open_tables(source, writing=False))
        origin = await leaving.origin()
        if origin is not None and origin.seal is None:
            raise ConfigurationError(
                setting="--from",
                reason=f"is a store to which the move from {origin.source} has not ended",
                hint="Run that move again first",
            )
        stack.enter_context(_owned(target))
        with _naming("--to"):
            with suppress(MoveUnfinished):
                async with open_store(target):
                    pass
            arriving = await stack.enter_async_context(_open_tables(target, writing=True))
        await _check(arriving, source)
        yield Move(leaving, arriving, source, target)


@contextmanager
def _naming(option: str) -> Iterator[None]:
    """Let errors name what the URL came from."""
    try:
        yield
    except StorageUnavailable as error:
        raise attrs.evolve(error, hint=error.hint.replace(SETTING, option)) from error
    except ConfigurationError as error:
        raise attrs.evolve(error, setting=option if error.setting == SETTING else error.setting) from error


def _open_tables(settings: Settings, *, writing: bool) -> AbstractAsyncContextManager[Tables]:
    if settings.uses_postgres:
        from tmws_adapters.postgres import open_postgres_tables  # noqa: PLC0415 - a store in a file does without

        return open_postgres_tables(settings.database_url, writing=writing)
    from tmws_adapters.sqlite import open_sqlite_tables  # noqa: PLC0415 - as above

    return open_sqlite_tables(settings.sqlite_path, writing=writing)


async def _carry(position: Checkpoint, target: Settings) -> bool:
    """Keep the signed position of a log for where it was copied to, if the copy is what it proves; tell whether."""
    known = InprocessPosition()
    await known.keep(position)
    async with open_store(target) as store:
        log = attrs.evolve(auditing_of(target, store.storage, SystemClock()), position=known)
        try:
            found = await log.verify()
        except ConfigurationError:  # the secret is missing that verifies it
            return False
    return found.breach is None and found.doubt is None and await position_of(target).keep(position)


async def _check(target: Tables, source: Settings) -> None:
    origin = await target.origin()
    if origin is None:
        async with target.snapshot() as snapshot:
            held = [each.name for each in TABLES if each not in _FROM_THE_BEGINNING and await snapshot.count(each)]
        if held:
            raise _occupied(f"holds {', '.join(held)} already")
    elif origin.source not in (source.store_name, source.former_name):
        raise _occupied(f"holds what was moved from {origin.source}")
    elif origin.seal is not None and origin.seal != await _seal(target):
        raise _occupied("was used since it was moved")


async def _seal(target: Tables) -> str:
    """Return what is another text once the store was used."""
    async with target.snapshot() as snapshot:
        sums = [(await summed(table, snapshot)).digest for table in _TELLING]
        standing = await snapshot.standing()
    return hashlib.sha256(repr((sums, standing)).encode()).hexdigest()


def _occupied(reason: str) -> ConfigurationError:
    return ConfigurationError(setting="--to", reason=reason, hint="Name an empty database, or a file that is not there")


@contextmanager
def _owned(settings: Settings) -> Iterator[None]:
    """Keep owner processes away from a file in the block."""
    if settings.uses_postgres:
        yield
        return
    place = Place(str(settings.sqlite_path))
    place.prepare()
    lock = take(place.lock)
    if lock is None:
        raise StorageBusy(part="move", reason="a process of TMWS uses the target", hint="Stop it, and try again")
    try:
        yield
    finally:
        os.close(lock)
