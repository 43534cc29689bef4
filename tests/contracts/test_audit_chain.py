"""The contract of AuditLog that every store keeps: one chain without gaps, whoever writes at the same time."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import count

import anyio
import pytest

from tests.contracts.audit_steps import FIRST_DAY, KEY, SetClock, auditing, events, write
from tests.contracts.builders import memory, new
from tmws_adapters.inprocess import InprocessPosition
from tmws_core.domain.agent import operator
from tmws_core.domain.chain import ChainEnd, Checkpoint
from tmws_core.ports.audit import AuditFilter
from tmws_core.ports.signing import Signer
from tmws_core.ports.storage import Storage
from tmws_core.services.auditing import Auditing

pytestmark = pytest.mark.anyio


class Mishap(Exception):
    """Something that goes wrong inside a transaction."""


async def ids(storage: Storage) -> list[int]:
    async with storage.read() as snapshot:
        return [record.id for record in await snapshot.audit_log.rows(1, 999)]


async def test_rows_are_chained_in_the_order_they_were_written(storage: Storage) -> None:
    await write(storage, *events(3))
    await write(storage, *events(2, first=3))

    async with storage.read() as snapshot:
        records = await snapshot.audit_log.rows(1, 99)
        end = await snapshot.audit_log.end()

    assert [record.id for record in records] == [1, 2, 3, 4, 5]
    assert end == ChainEnd(5, records[-1].hash or b"")
    assert (await auditing(storage).verify()).breach is None


async def test_a_rolled_back_transaction_leaves_no_gap_in_the_chain(storage: Storage) -> None:
    async def fail() -> None:
        async with storage.write() as unit:
            await unit.audit(events(3))
            assert (await unit.audit_log.end() or ChainEnd()).id == 3
            raise Mishap

    with pytest.raises(Mishap):
        await fail()
    await write(storage, *events(1))

    assert await ids(storage) == [1]
    assert (await auditing(storage).verify()).breach is None


async def test_tasks_of_many_agents_that_write_and_fail_at_once_keep_one_chain(storage: Storage) -> None:
    async def one(number: int) -> None:
        with suppress(Mishap):
            async with storage.write() as unit:
                await unit.audit(events(2, number))
                await unit.changes.add([new(memory(agent_id=f"agent-{number}"))])
                if number % 3 == 0:
                    raise Mishap

    async with anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(one, number)

    assert await ids(storage) == list(range(1, 41))
    assert (await auditing(storage).verify()).breach is None


async def test_a_page_of_the_log_holds_what_was_asked_for_newest_first(storage: Storage) -> None:
    await write(storage, *events(9))

    async def page(before: int | None = None, limit: int = 99, **wanted: object) -> list[int]:
        async with storage.read() as snapshot:
            found = await snapshot.audit_log.page(AuditFilter(**wanted), before=before, limit=limit)  # type: ignore[arg-type]  # a dict of keywords
        return [record.id for record in found]

    assert await page(limit=3) == [9, 8, 7]
    assert await page(before=3) == [2, 1]
    assert await page(event_type="memory.") == [8, 7, 5, 4, 2, 1]
    assert await page(agent_id="grace") == [8, 6, 4, 2]
    assert await page(since=FIRST_DAY + timedelta(days=2), until=FIRST_DAY + timedelta(days=4)) == [4, 3]


async def test_a_pruned_log_is_verified_from_its_checkpoint_on(storage: Storage) -> None:
    await write(storage, *events(4))
    service = auditing(storage)
    await service.checkpoint()
    async with storage.write() as unit:
        last = await unit.audit_log.last_before(FIRST_DAY + timedelta(days=2), 1, 99)
        (kept,) = await unit.audit_log.checkpoints()
    await write(storage, *events(1, first=4))

    assert last is not None
    assert last.id == 2
    assert kept.end.id >= 4
    assert (await service.verify()).breach is None


async def test_what_was_signed_while_another_process_pruned_it_leaves_the_log_whole(storage: Storage) -> None:
    await write(storage, *events(5))
    clock, position = SetClock(FIRST_DAY + timedelta(days=6)), InprocessPosition()
    await auditing(storage, clock=clock, position=position).checkpoint()
    await write(storage, *events(3, first=7))
    clock.time = FIRST_DAY + timedelta(days=500)
    walked, pruned = anyio.Event(), anyio.Event()
    calls = count(1)

    async def slow() -> Sequence[Signer]:
        # To judge what is signed, and then, when the log has been looked at, to sign it.
        if next(calls) == 2:
            walked.set()
            await pruned.wait()
        return (KEY,)

    late = Auditing(storage=storage, clock=clock, signers=slow, position=position, audited=True)
    other = auditing(storage, clock=clock, position=position)
    signed = list[Checkpoint]()

    async def sign() -> None:
        signed.append(await late.checkpoint())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sign)
        await walked.wait()
        assert await other.prune(operator("ada", "acme", "python"), clock.time - timedelta(days=365)) == 9
        pruned.set()

    found = await other.verify()
    assert (found.breach, found.doubt) == (None, None)
    assert signed[0].end.id > 9
    await other.checkpoint()
