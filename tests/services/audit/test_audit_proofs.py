"""What somebody can make of the log who writes the database and reads the program, but does not know the secret."""

import json
import os
import stat
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import anyio
import attrs
import pytest

from tests.contracts.audit_steps import (
    FIRST_DAY,
    OTHER_KEY,
    ROWS,
    SIGNED,
    SetClock,
    auditing,
    change,
    events,
    opened,
    rehash,
    rewrite,
    verify,
    write,
)
from tests.stacks import behind_the_back, copy_store, rows, settings_in
from tmws_adapters import auditing as auditing_module
from tmws_adapters.auditing import PositionFile, position_of
from tmws_adapters.local.lock import take
from tmws_core.domain.agent import operator
from tmws_core.domain.audit import AuditEvent
from tmws_core.domain.chain import FIRST_ID, Breach, Checkpoint, checkpoint_message
from tmws_core.domain.chain import SIGNED as TOLD
from tmws_core.domain.proof import GONE, Doubt
from tmws_core.errors import AuditBroken, AuditUnproven, TmwsError
from tmws_core.services.auditing import Verification

pytestmark = pytest.mark.anyio

CALLER = operator("ada", "acme", "python")

Attack = Callable[[Path], None]

CHECKPOINT = "last, hash, created_at, pruned, public_key, signature"


@pytest.fixture
async def position(home: Path) -> PositionFile:
    """The place outside of the database, which holds what was signed last."""
    position = PositionFile(home / "outside.json", "log")
    async with opened(home) as store:
        await auditing(store.storage, position=position).checkpoint()
    return position


def without_checkpoints(home: Path) -> None:
    change(home, "DELETE FROM audit_checkpoints")


def rewritten_without_checkpoints(home: Path) -> None:
    change(home, "DELETE FROM audit_checkpoints")
    rewrite(home, 2)


def rewritten_without_a_word_of_signatures(home: Path) -> None:
    change(home, "DELETE FROM audit_checkpoints")
    change(home, f"DELETE FROM security_audit_logs WHERE id > {SIGNED}")
    rewrite(home, 2)


def cut_before_the_first_checkpoint(home: Path) -> None:
    change(home, "DELETE FROM audit_checkpoints", f"DELETE FROM security_audit_logs WHERE id >= {SIGNED}")
    rehash(home)


def cut_behind_the_first_checkpoint(home: Path) -> None:
    change(home, f"DELETE FROM audit_checkpoints WHERE last > {SIGNED}")
    change(home, f"DELETE FROM security_audit_logs WHERE id > {SIGNED + 1}")
    rehash(home)


def emptied(home: Path) -> None:
    change(home, "DELETE FROM audit_checkpoints", "DELETE FROM security_audit_logs")
    rehash(home)


def signed_by_the_attacker(home: Path) -> None:
    rewritten_without_a_word_of_signatures(home)

    async def sign() -> None:
        async with opened(home) as store:
            await auditing(store.storage, OTHER_KEY).checkpoint()

    anyio.run(sign)


def begun_later_by_the_attacker(home: Path) -> None:
    async def prune() -> None:
        async with opened(home) as store:
            log = auditing(store.storage, OTHER_KEY, clock=SetClock(FIRST_DAY + timedelta(days=40)))
            await log.checkpoint(accept=True)
            await log.prune(CALLER, FIRST_DAY + timedelta(days=3))

    anyio.run(prune)
    change(home, f"DELETE FROM audit_checkpoints WHERE last > {SIGNED}")


def exchanged_for_another_log_of_the_same_secret(home: Path) -> None:
    other = home / "other"
    other.mkdir()

    async def prune() -> list[tuple[object, ...]]:
        async with opened(other) as store:
            await write(store.storage, *events(3 * ROWS, of="another log"))
            log = auditing(store.storage, clock=SetClock(FIRST_DAY + timedelta(days=400)))
            await log.checkpoint()
            await log.prune(CALLER, FIRST_DAY + timedelta(days=2 * ROWS))
        return rows(settings_in(other), f"SELECT {CHECKPOINT} FROM audit_checkpoints WHERE pruned")

    ((last, digest, *rest),) = anyio.run(prune)
    change(home, "DELETE FROM audit_checkpoints", "DELETE FROM security_audit_logs")
    with behind_the_back(settings_in(home)) as execute:
        execute(f"INSERT INTO audit_checkpoints ({CHECKPOINT}) VALUES (?, ?, ?, ?, ?, ?)", last, digest, *rest)
        execute("UPDATE audit_head SET last = ?, hash = ?", last, digest)


ATTACKS: Sequence[Attack] = (
    without_checkpoints,
    rewritten_without_checkpoints,
    rewritten_without_a_word_of_signatures,
    cut_before_the_first_checkpoint,
    cut_behind_the_first_checkpoint,
    emptied,
    signed_by_the_attacker,
    begun_later_by_the_attacker,
    exchanged_for_another_log_of_the_same_secret,
)


def is_proven(found: Verification) -> bool:
    return found.breach is None and found.doubt is None


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
async def test_no_attack_without_the_secret_leaves_a_log_that_counts_as_what_was_written(
    home: Path, position: PositionFile, attack: Attack
) -> None:
    assert is_proven(await verify(home, position=position))

    await anyio.to_thread.run_sync(attack, home)

    assert (await verify(home, position=position)).breach is not None
    assert not is_proven(await verify(home))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
async def test_what_was_attacked_is_neither_signed_nor_pruned(
    home: Path, position: PositionFile, attack: Attack
) -> None:
    await anyio.to_thread.run_sync(attack, home)

    async with opened(home) as store:
        service = auditing(store.storage, position=position)
        with pytest.raises((AuditBroken, AuditUnproven)):
            await service.checkpoint()
        with pytest.raises(AuditBroken):
            await service.prune(CALLER, FIRST_DAY + timedelta(days=2))


@pytest.mark.parametrize(
    "attack", [rewritten_without_a_word_of_signatures, signed_by_the_attacker], ids=lambda attack: attack.__name__
)
async def test_pruning_signs_nothing_that_nothing_proves_although_the_position_is_gone(
    home: Path, attack: Attack
) -> None:
    await anyio.to_thread.run_sync(attack, home)

    async with opened(home) as store:
        with pytest.raises(AuditUnproven):
            await auditing(store.storage).prune(CALLER, FIRST_DAY + timedelta(days=2))
    assert (await verify(home)).rows >= SIGNED


async def test_each_missing_proof_is_told(home: Path, position: PositionFile) -> None:
    assert (await verify(home)).doubt is Doubt.NOTHING_OUTSIDE
    assert (await verify(home, OTHER_KEY, position=position)).doubt is Doubt.ANOTHER_SECRET
    assert (await verify(home / "new")).doubt is Doubt.NOTHING_SIGNED


async def test_a_position_that_was_changed_is_not_believed(home: Path, position: PositionFile) -> None:
    kept = await position.last()
    assert kept is not None
    position.path.write_text(position.path.read_text().replace(f'"row": {kept.end.id}', '"row": 1'))

    found = await verify(home, position=position)

    assert found.breach is not None
    assert "outside of the database" in found.breach.reason


async def test_an_older_copy_of_the_database_is_told_until_somebody_accepts_it(
    home: Path, written: Path, tmp_path: Path
) -> None:
    position = PositionFile(tmp_path / "outside.json", "log")
    restored = tmp_path / "restored"
    restored.mkdir()
    copy_store(written, restored)
    async with opened(home) as store:
        await auditing(store.storage, position=position).checkpoint()

    async with opened(restored) as store:
        service = auditing(store.storage, position=position)
        found = await service.verify()
        assert found.breach is not None
        with pytest.raises(TmwsError):
            await service.checkpoint()

        await service.checkpoint(accept=True)

        assert is_proven(await service.verify())


async def test_a_log_goes_on_being_proven_while_it_grows_is_signed_and_is_pruned(
    home: Path, position: PositionFile
) -> None:
    async with opened(home) as store:
        service = auditing(store.storage, position=position)
        for day in range(1, 6):
            await write(store.storage, *events(2, first=ROWS + 2 * day))
            await service.prune(CALLER, FIRST_DAY + timedelta(days=3 * day))
            assert is_proven(await service.verify())
            await service.checkpoint()
            assert is_proven(await service.verify())


async def test_the_second_of_two_servers_proves_from_its_own_position(home: Path, position: PositionFile) -> None:
    other = PositionFile(home / "other.json", "log")
    async with opened(home) as store:
        await auditing(store.storage, position=other).checkpoint()
        await write(store.storage, *events(3, first=ROWS))
        await auditing(store.storage, position=position).checkpoint()

        assert is_proven(await auditing(store.storage, position=other).verify())

    await anyio.to_thread.run_sync(emptied, home)
    assert (await verify(home, position=other)).breach is not None


async def test_positions_of_several_logs_stand_in_one_file_that_only_its_user_can_read(position: PositionFile) -> None:
    kept = await position.last()
    assert kept is not None
    other = PositionFile(position.path, "other")

    assert await other.last() is None
    assert await other.keep(kept)

    assert await position.last() == await other.last() == kept
    assert stat.S_IMODE(position.path.stat().st_mode) == 0o600


async def test_processes_that_keep_positions_at_once_lose_none(position: PositionFile) -> None:
    logs = [f"log {number}" for number in range(40)]
    several = [PositionFile(position.path, log) for log in logs]
    kept = await position.last()
    assert kept is not None
    started = anyio.Event()

    async def keep(each: PositionFile) -> None:
        await started.wait()
        assert await each.keep(kept)

    # A lock of the kernel is between descriptors, in one process as between several.
    async with anyio.create_task_group() as keeping:
        for each in several:
            keeping.start_soon(keep, each)
        started.set()

    assert [await each.last() for each in several] == [kept] * len(several)


async def test_a_position_is_not_kept_while_another_process_writes_for_ever(
    position: PositionFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await position.last()
    assert kept is not None
    monkeypatch.setattr(auditing_module, "LOCK_SECONDS", 0.0)
    lock = take(f"{position.path}.lock")
    assert lock is not None

    assert not await PositionFile(position.path, "other").keep(kept)
    os.close(lock)
    assert await PositionFile(position.path, "other").keep(kept)


async def test_a_position_is_found_by_the_former_name_of_a_database_and_kept_by_its_own(
    position: PositionFile, caplog: pytest.LogCaptureFixture
) -> None:
    kept = await position.last()
    assert kept is not None
    settings = settings_in(position.path.parent)
    alone, vague = (
        position_of(attrs.evolve(settings, database_url=f"postgresql://ada@db/tmws{more}"))
        for more in ("", "?host=/cloudsql/prod")
    )
    alone.path.write_text(json.dumps({"postgresql://db/tmws": kept.told()}), encoding="utf-8")

    assert await alone.last() == kept
    assert caplog.text == ""
    assert await vague.last() is None
    assert "may hold a position" in caplog.text
    assert await alone.keep(attrs.evolve(kept, pruned=True))
    assert await alone.last() == attrs.evolve(kept, pruned=True)
    assert json.loads(alone.path.read_bytes())["postgresql://db/tmws"] == kept.told()


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"log": 5}', b'{"log": {"row": "x"}}', b"[" * 100_000])
async def test_a_damaged_file_of_positions_holds_none_and_is_written_anew(
    position: PositionFile, content: bytes
) -> None:
    kept = await position.last()
    assert kept is not None
    position.path.write_bytes(content)

    assert await position.last() is None
    assert await position.keep(kept)
    assert await position.last() == kept


async def test_a_position_that_cannot_be_kept_is_told(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    (home / "file").touch()
    position = PositionFile(home / "file" / "outside.json", "log")

    async with opened(home) as store:
        await auditing(store.storage, position=position).checkpoint()

    assert "could not be kept" in caplog.text


async def test_a_beginning_that_another_secret_has_signed_is_no_proof_although_what_follows_is_signed(
    home: Path, position: PositionFile
) -> None:
    async with opened(home) as store, store.storage.write() as unit:
        end = await unit.audit_log.last_before(FIRST_DAY + timedelta(days=3), FIRST_ID, ROWS)
        assert end is not None
        at = FIRST_DAY.isoformat()
        signature = OTHER_KEY.sign(checkpoint_message(end, at, pruned=True))
        await unit.audit_log.add_checkpoint(
            Checkpoint(end=end, created_at=at, pruned=True, public_key=OTHER_KEY.public_key, signature=signature)
        )

    found = await verify(home, position=position)

    assert (found.breach, found.doubt, found.unverifiable) == (None, Doubt.ANOTHER_SECRET, (end.id,))


async def test_the_log_itself_tells_of_a_checkpoint_that_is_gone(home: Path) -> None:
    without_checkpoints(home)
    assert (await verify(home)).breach == Breach(SIGNED, GONE)


async def test_the_first_row_that_tells_of_a_forged_signature_is_found(home: Path) -> None:
    async with opened(home) as store:
        service = auditing(store.storage)
        forged = attrs.evolve(await service.checkpoint(), created_at="yesterday")
        told = AuditEvent(timestamp=FIRST_DAY, event_type=TOLD, agent_id="tmws", details=forged.told())
        await write(store.storage, told, told)
        found = await service.verify()
    assert found.breach is not None
    assert found.breach.id == found.end.id - 1


async def test_a_log_that_was_cut_is_looked_at_although_its_checkpoint_is_new(
    home: Path, position: PositionFile
) -> None:
    cut_behind_the_first_checkpoint(home)
    clock = SetClock(FIRST_DAY + timedelta(days=SIGNED))
    async with opened(home) as store:
        with pytest.raises(AuditBroken):
            await auditing(store.storage, clock=clock, position=position).checkpoint_if_due()
