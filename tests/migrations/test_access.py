"""The revision that chains the audit log, over a store whose log has rows."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.contracts.audit_steps import events, verify, write
from tests.migrations.test_sqlite import alembic, columns, schema
from tmws_adapters.migrations.runner import upgrade
from tmws_adapters.sqlite import open_sqlite
from tmws_core.domain.audit import AuditRecord
from tmws_core.domain.chain import GENESIS, chained

pytestmark = pytest.mark.anyio

TEXTS = ("2026-01-31T00:00:00.000000Z", "memory.created", "ada", '{"memory_id":"Zürich \\"1\\""}')
ADD = "INSERT INTO security_audit_logs (timestamp, event_type, agent_id, details) VALUES (?, ?, ?, ?)"


@pytest.fixture
def former(tmp_path: Path) -> Path:
    """A store of the third schema with 25,000 rows in its log, of which the first was deleted."""
    path = tmp_path / "tmws.db"
    assert alembic(path, "upgrade", "0003").returncode == 0
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(ADD, [TEXTS] * 25_001)
        connection.execute("DELETE FROM security_audit_logs WHERE id = 1")
    return path


async def test_what_was_written_before_is_chained_and_what_follows_goes_on(former: Path) -> None:
    upgrade(former)

    async with open_sqlite(former) as store:
        await write(store.storage, *events(1))
        async with store.storage.read() as snapshot:
            (first,) = await snapshot.audit_log.rows(2, 1)
    assert first.hash == chained(GENESIS, AuditRecord(2, *TEXTS, hash=None))
    found = await verify(former.parent)
    assert (found.rows, found.end.id, found.breach) == (25_001, 25_002, None)


async def test_a_row_changed_after_the_upgrade_is_found(former: Path) -> None:
    upgrade(former)
    with closing(sqlite3.connect(former)) as connection, connection:
        connection.execute("UPDATE security_audit_logs SET agent_id = 'mallory' WHERE id = 12000")

    found = (await verify(former.parent)).breach

    assert found is not None
    assert found.id == 12_000


def test_the_fourth_revision_can_be_taken_back_and_the_log_keeps_its_rows(former: Path) -> None:
    before, columns_before = schema(former), columns(former, "security_audit_logs")
    assert alembic(former, "upgrade", "0004").returncode == 0
    assert {"audit_head", "audit_checkpoints"} <= schema(former) - before

    assert alembic(former, "downgrade", "0003").returncode == 0

    assert (schema(former), columns(former, "security_audit_logs")) == (before, columns_before)
    with closing(sqlite3.connect(former)) as connection:
        assert connection.execute("SELECT count(*) FROM security_audit_logs").fetchone() == (25_000,)
        last = "SELECT timestamp, event_type, agent_id, details FROM security_audit_logs ORDER BY id DESC"
        assert connection.execute(last).fetchone() == TEXTS
