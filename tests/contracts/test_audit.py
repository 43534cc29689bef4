"""The contract of AuditLog: one chain, whoever writes and whatever is rolled back, and a page of it."""

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import anyio
import attrs
import pytest

from tests.contracts.audit_steps import FIRST_DAY, KEY, auditing, change, events, ids, verify, write
from tests.contracts.builders import memory, new
from tests.contracts.test_processes import child, finish, start
from tmws_adapters.sqlite import open_sqlite
from tmws_core.domain.chain import GENESIS, ChainEnd, Checkpoint, chained
from tmws_core.errors import AuditBroken
from tmws_core.ports.audit import AuditFilter
from tmws_core.ports.storage import Storage

pytestmark = pytest.mark.anyio


class Mishap(Exception):
    """Something that goes wrong inside a transaction."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tmws.db"


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[Storage]:
    async with open_sqlite(path, synchronous="NORMAL") as store:
        yield store.storage


async def page(storage: Storage, *, before: int | None = None, limit: int = 99, **wanted: object) -> list[int]:
    async with storage.read() as snapshot:
        found = await snapshot.audit_log.page(AuditFilter(**wanted), before=before, limit=limit)  # type: ignore[arg-type]  # any filter
    return [record.id for record in found]


async def test_each_row_is_chained_to_the_one_before(storage: Storage) -> None:
    await write(storage, *events(2))
    await write(storage, *events(1))
    async with storage.read() as snapshot:
        records = await snapshot.audit_log.rows(1, 99)
        end = await snapshot.audit_log.end()

    digest = GENESIS
    for number, record in enumerate(records, start=1):
        digest = chained(digest, record)
        assert (record.id, record.hash) == (number, digest)
    assert end == ChainEnd(3, digest)


async def test_a_transaction_without_events_leaves_the_log_alone(storage: Storage, path: Path) -> None:
    await write(storage)
    assert ids(path.parent) == []


async def test_a_rolled_back_transaction_leaves_no_gap(storage: Storage, path: Path) -> None:
    await write(storage, *events(1))

    async def fail() -> None:
        async with storage.write() as unit:
            await unit.audit(events(3))
            await unit.changes.add([new(memory())])
            assert (await unit.audit_log.end() or ChainEnd()).id == 4
            raise Mishap

    with pytest.raises(Mishap):
        await fail()
    await write(storage, *events(1))

    assert ids(path.parent) == [1, 2]
    assert (await auditing(storage).verify()).breach is None


async def test_tasks_that_write_and_fail_at_once_keep_one_chain(storage: Storage, path: Path) -> None:
    async def one(number: int) -> None:
        with suppress(Mishap):
            async with storage.write() as unit:
                await unit.audit(events(2, number))
                await unit.changes.add([new(memory())])
                if number % 3 == 0:
                    raise Mishap

    async with anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(one, number)

    assert ids(path.parent) == list(range(1, 41))
    assert (await auditing(storage).verify()).breach is None


async def test_processes_that_write_at_once_keep_one_chain(path: Path) -> None:
    with child("audit", str(path), "50") as one, child("audit", str(path), "50") as other:
        start(one)
        start(other)
        written = len(finish(one)) + len(finish(other))

    verification = await verify(path.parent)
    assert (written, verification.rows, verification.breach) == (100, 100, None)
    assert ids(path.parent) == list(range(1, 101))


async def test_the_chain_holds_after_the_writer_was_killed(path: Path) -> None:
    with child("audit", str(path), "100000") as process:
        start(process)
        assert process.stdout
        acknowledged = [process.stdout.readline() for _ in range(100)]
        process.kill()
        acknowledged += process.stdout.read().split("\n")[:-1]

    verification = await verify(path.parent)
    assert verification.breach is None
    assert len(acknowledged) <= verification.rows <= len(acknowledged) + 1


async def test_a_page_shows_what_is_asked_for_the_newest_first(storage: Storage) -> None:
    await write(storage, *events(9))

    assert await page(storage) == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert await page(storage, before=5, limit=2) == [4, 3]
    assert await page(storage, event_type="memory.read") == [8, 5, 2]
    assert await page(storage, event_type="memory.") == [8, 7, 5, 4, 2, 1]
    assert await page(storage, event_type="MEMORY") == await page(storage, event_type="%") == []
    assert await page(storage, agent_id="grace", limit=2) == [8, 6]
    third, fifth = FIRST_DAY + timedelta(days=2), FIRST_DAY + timedelta(days=4)
    assert await page(storage, since=third, until=fifth) == [4, 3]


async def test_rows_of_an_older_program_are_chained_by_the_next_one_and_told_of(storage: Storage, path: Path) -> None:
    await write(storage, *events(1))
    older = """
        INSERT INTO security_audit_logs (timestamp, event_type, agent_id, details)
        VALUES ('2026-01-31T00:00:00.000000Z', 'memory.created', 'older', '{}')
    """
    change(path.parent, older, older)
    before = await auditing(storage).verify()

    await write(storage, *events(1))

    async with storage.read() as snapshot:
        rows = await snapshot.audit_log.rows(1, 99)
    assert [row.event_type for row in rows] == ["memory.created"] * 3 + ["audit.adopted", "memory.created"]
    assert rows[3].details == '{"first_id":2,"last_id":3,"count":2}'
    assert before.breach is not None
    assert before.breach.id == 2
    assert (await auditing(storage).verify()).breach is None


async def test_nothing_is_written_when_nobody_knows_where_the_chain_ends(storage: Storage, path: Path) -> None:
    await write(storage, *events(1))
    change(path.parent, "DELETE FROM audit_head")

    with pytest.raises(AuditBroken, match="audit_head"):
        await write(storage, *events(1))

    assert ids(path.parent) == [1]


async def test_a_checkpoint_that_prunes_takes_the_rows_and_checkpoints_before_it_along(
    storage: Storage, path: Path
) -> None:
    await write(storage, *events(6))
    async with storage.write() as unit:
        rows = await unit.audit_log.rows(1, 6)
        wanted = ((rows[1], False, 0), (rows[4], False, 0), (rows[2], True, 3), (rows[2], False, 0))
        for row, pruned, deleted in wanted:
            checkpoint = Checkpoint(
                end=ChainEnd(row.id, row.hash or b""),
                created_at="2026-01-31",
                pruned=pruned,
                public_key=KEY.public_key,
                signature=KEY.sign(b""),
            )
            assert await unit.audit_log.add_checkpoint(checkpoint) == deleted

    async with storage.read() as snapshot:
        kept = await snapshot.audit_log.checkpoints()
    assert [(each.end.id, each.pruned) for each in kept] == [(3, True), (5, False)]
    assert attrs.evolve(kept[0], pruned=False).message != kept[0].message
    assert ids(path.parent) == [4, 5, 6]


async def test_only_the_beginning_of_the_log_is_old_enough(storage: Storage) -> None:
    await write(storage, *events(3), *events(2))
    async with storage.read() as snapshot:
        log = snapshot.audit_log
        rows = await log.rows(1, 99)

        assert await log.last_before(FIRST_DAY, 1, 99) is None
        assert await log.last_before(FIRST_DAY + timedelta(days=2), 1, 99) == ChainEnd(2, rows[1].hash or b"")
        assert await log.last_before(FIRST_DAY + timedelta(days=9), 1, 4) == ChainEnd(4, rows[3].hash or b"")


async def test_bytes_that_are_no_text_are_shown_and_break_nothing_but_the_chain(storage: Storage, path: Path) -> None:
    await write(storage, *events(2))
    change(path.parent, "UPDATE security_audit_logs SET agent_id = CAST(x'ff00' AS TEXT) WHERE id = 2")

    found = await auditing(storage).query(AuditFilter(), limit=1)

    assert found[0].agent_id == "\udcff\x00"
    assert (await auditing(storage).verify()).breach is not None
