"""What signing and pruning leave of a log, and what becomes of it when the secret has changed."""

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path

import anyio
import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contracts.audit_steps import (
    FIRST_DAY,
    INSERTION,
    KEY,
    OTHER_KEY,
    ROWS,
    SIGNED,
    VALUES,
    SetClock,
    altered,
    auditing,
    change,
    copied,
    events,
    ids,
    opened,
    removed,
    rewrite,
    verify,
    write,
)
from tests.stacks import PRODUCTION
from tmws_adapters.inprocess import InprocessPosition
from tmws_core.domain.agent import operator
from tmws_core.domain.chain import Checkpoint
from tmws_core.errors import AuditBroken, AuditUnproven, ConfigurationError
from tmws_core.ports.audit import AuditFilter
from tmws_core.ports.signing import Signer
from tmws_core.ports.storage import Storage
from tmws_core.services.auditing import Auditing

pytestmark = pytest.mark.anyio

CALLER = operator("ada", "acme", "python")


async def test_what_was_rewritten_is_not_signed_along(home: Path) -> None:
    change(home, f"UPDATE security_audit_logs SET agent_id = 'mallory' WHERE id = {SIGNED + 1}")
    async with opened(home) as store:
        with pytest.raises(AuditBroken, match=f"row {SIGNED + 1} was changed"):
            await auditing(store.storage).checkpoint()

    rewrite(home, SIGNED)
    async with opened(home) as store:
        with pytest.raises(AuditBroken, match=f"row {SIGNED} is not what its checkpoint"):
            await auditing(store.storage).checkpoint()


async def test_a_checkpoint_of_the_former_secret_is_good_and_one_of_an_unknown_secret_is_told(home: Path) -> None:
    known = await verify(home, OTHER_KEY, KEY)
    unknown = await verify(home, OTHER_KEY)

    assert (known.breach, known.signed, known.unverifiable) == (None, SIGNED, ())
    assert (unknown.breach, unknown.signed, unknown.unverifiable) == (None, 0, (SIGNED,))


async def test_what_an_unknown_secret_has_signed_is_signed_on_only_if_that_is_accepted(storage: Storage) -> None:
    service = auditing(storage, OTHER_KEY)
    with pytest.raises(AuditUnproven, match="the secret that signed it last is not known any more"):
        await service.checkpoint()

    await service.checkpoint(accept=True)

    found = await service.verify()
    assert (found.breach, found.doubt, found.signed, found.unverifiable) == (None, None, ROWS, ())
    (record,) = await service.query(AuditFilter(), limit=1)
    assert (record.event_type, json.loads(record.details)["accepted"]) == ("audit.signed", True)


@given(days=st.integers(0, ROWS + 2), column=st.sampled_from([*sorted(VALUES), None]), place=st.integers(0, ROWS))
@settings(max_examples=10 if PRODUCTION else 50, deadline=None)
def test_what_pruning_leaves_verifies_and_still_cannot_be_changed(
    written: Path, days: int, column: str | None, place: int
) -> None:
    async def prune(home: Path) -> int:
        async with opened(home) as store:
            return await auditing(store.storage).prune(CALLER, FIRST_DAY + timedelta(days=days))

    with copied(written) as copy:
        deleted = anyio.run(prune, copy)
        sound = anyio.run(verify, copy)
        left = ids(copy)
        row = left[place % len(left)]
        change(copy, *(removed(row, row) if column is None else altered(column, row)).statements)
        changed = anyio.run(verify, copy)

    # Two checkpoints and the pruning between them, or one checkpoint.
    told = 3 if deleted else 1
    assert deleted == min(days, ROWS)
    assert left == list(range(deleted + 1, ROWS + told + 1))
    assert (sound.breach, sound.rows, sound.signed) == (None, len(left), ROWS + told - 1)
    assert changed.breach is not None
    assert changed.breach.id == row


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit_checkpoints WHERE pruned",
        "UPDATE audit_checkpoints SET pruned = NOT pruned",
        f"{INSERTION} (5, '2026-01-01', 'memory.read', 'mallory', '{{}}', zeroblob(32))",
    ],
)
async def test_what_was_pruned_cannot_be_put_into_doubt(home: Path, statement: str) -> None:
    async with opened(home) as store:
        await auditing(store.storage).prune(CALLER, FIRST_DAY + timedelta(days=5))
    change(home, statement)
    assert (await verify(home)).breach is not None


async def test_pruning_goes_step_by_step_and_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmws_core.services.auditing.BATCH", 5)
    reports = list[tuple[int, int]]()
    async with opened(tmp_path) as store:
        await write(store.storage, *events(ROWS))
        service = auditing(store.storage)
        await service.checkpoint()

        deleted = await service.prune(CALLER, FIRST_DAY + timedelta(days=11), lambda *told: reports.append(told))

        assert (deleted, reports) == (11, [(5, ROWS), (10, ROWS), (11, ROWS)])
        (record,) = await service.query(AuditFilter(event_type="audit.pruned"), limit=1)
        assert (record.event_type, record.agent_id) == ("audit.pruned", "ada")
        assert (await service.verify()).breach is None


@attrs.define
class _Meanwhile(InprocessPosition):
    """A position that is kept while somebody else prunes, and more is written."""

    prune: Callable[[], Awaitable[object]]

    async def keep(self, checkpoint: Checkpoint) -> bool:
        if await self.last() is None:
            await super().keep(checkpoint)
            await self.prune()
        return await super().keep(checkpoint)


async def test_of_two_that_prune_at_once_neither_deletes_what_it_has_not_verified(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await write(store.storage, *events(ROWS))
        await auditing(store.storage, audited=False).checkpoint()

        async def prune() -> None:
            await auditing(store.storage, audited=False).prune(CALLER, FIRST_DAY + timedelta(days=4))
            await write(store.storage, *events(4))

        service = auditing(store.storage, audited=False, position=_Meanwhile(prune))

        assert await service.prune(CALLER, FIRST_DAY + timedelta(days=ROWS)) == ROWS - 4
        assert (await service.verify()).breach is None
    assert ids(tmp_path) == list(range(ROWS + 1, ROWS + 5))


async def test_a_broken_log_is_not_pruned(home: Path) -> None:
    change(home, f"UPDATE security_audit_logs SET agent_id = 'mallory' WHERE id = {ROWS}")
    async with opened(home) as store:
        with pytest.raises(AuditBroken, match=f"row {ROWS} was changed"):
            await auditing(store.storage).prune(CALLER, FIRST_DAY + timedelta(days=5))
    assert ids(home) == list(range(1, ROWS + 1))


async def test_a_checkpoint_is_due_once_a_day_and_only_if_something_was_added(storage: Storage) -> None:
    clock = SetClock(FIRST_DAY + timedelta(days=SIGNED))
    service = auditing(storage, clock=clock)
    assert await service.checkpoint_if_due() is None

    clock.time += timedelta(days=1)
    signed = await service.checkpoint_if_due()
    assert signed is not None
    assert signed.end.id == ROWS

    clock.time += timedelta(days=1)
    assert await service.checkpoint_if_due() is None
    await write(storage, *events(1))
    assert await service.checkpoint_if_due() is not None


async def test_a_clock_that_was_wrong_does_not_put_the_next_checkpoint_off(storage: Storage) -> None:
    clock = SetClock(FIRST_DAY - timedelta(days=400))
    assert await auditing(storage, clock=clock).checkpoint_if_due() is not None


async def test_what_was_signed_comes_into_the_log_of_the_service(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tmws")
    end = (await auditing(storage).verify()).end
    await auditing(storage, clock=SetClock(FIRST_DAY + timedelta(days=SIGNED + 1))).look()
    assert caplog.messages == [f"✅ Audit log signed: row {ROWS}, hash {end.hash.hex()}"]


async def test_a_broken_log_and_a_missing_secret_come_into_the_log_of_the_service(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def none() -> Sequence[Signer]:
        raise ConfigurationError(setting="TMWS_SECRET_KEY", reason="secret key not set")

    change(home, f"UPDATE security_audit_logs SET agent_id = 'mallory' WHERE id = {ROWS}")
    clock = SetClock(FIRST_DAY + timedelta(days=9))
    async with opened(home) as store:
        await auditing(store.storage, clock=clock).look()
        await Auditing(
            storage=store.storage, clock=clock, signers=none, position=InprocessPosition(), audited=True
        ).look()

    broken, keyless = caplog.messages
    assert f"row {ROWS} was changed" in broken
    assert keyless == "❌ TMWS_SECRET_KEY: secret key not set"


async def test_a_running_service_looks_by_itself(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmws_core.services.auditing.FIRST_LOOK", timedelta(0))
    monkeypatch.setattr("tmws_core.services.auditing.LOOK_EVERY", timedelta(0))
    clock = SetClock(FIRST_DAY + timedelta(days=9))
    service = auditing(storage, clock=clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(service.run)
        with anyio.fail_after(60):
            while (await service.verify()).signed < ROWS:
                pass
            await write(storage, *events(1))
            clock.time += timedelta(days=2)
            while (await service.verify()).signed < ROWS + 1:
                pass
        tasks.cancel_scope.cancel()


async def test_a_beginning_that_an_unknown_secret_has_signed_is_signed_anew_if_that_is_accepted(
    storage: Storage,
) -> None:
    await auditing(storage).prune(CALLER, FIRST_DAY + timedelta(days=5))
    service = auditing(storage, OTHER_KEY)

    await service.checkpoint(accept=True)

    found = await service.verify()
    assert (found.breach, found.doubt, found.unverifiable) == (None, None, ())
