"""An agent that sends much at once stands in nobody's way."""

from pathlib import Path

import anyio
import attrs
import pytest
from anyio import wait_all_tasks_blocked
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from tests.contracts.builders import memory, new
from tests.servers.postgres import PostgresServer
from tmws_adapters.postgres import open_postgres
from tmws_adapters.sqlite import open_sqlite
from tmws_core.ports.storage import Storage

pytestmark = pytest.mark.anyio

MANY = 40
"""Units of one agent at once: more than a process has connections for."""

FEW = 8
"""Units of an agent that another one may have to wait for."""


@attrs.define
class Writers:
    """Agents that write to a store, in the order in which they were done."""

    storage: Storage
    finished: list[str] = attrs.field(factory=list)

    async def write(self, agent_id: str) -> None:
        async with self.storage.write(agent_id) as unit:
            await unit.changes.add([new(memory(agent_id=agent_id))])
        self.finished.append(agent_id)

    async def begin(self, tasks: TaskGroup) -> None:
        """Let many units of one agent wait, and then one of another."""
        for _ in range(MANY):
            tasks.start_soon(self.write, "eve")
        await wait_all_tasks_blocked()
        tasks.start_soon(self.write, "bob")


async def test_others_write_to_a_file_after_a_few_units_of_an_agent_that_sends_many(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "tmws.db") as store, anyio.create_task_group() as tasks:
        writers = Writers(store.storage)
        async with store.storage.write("eve"):
            await writers.begin(tasks)
            await wait_all_tasks_blocked()

    assert len(writers.finished) == MANY + 1
    assert writers.finished.index("bob") <= FEW


async def test_others_write_to_a_server_while_the_many_units_of_one_agent_wait(postgres: PostgresServer) -> None:
    with postgres.database() as url:
        async with open_postgres(url) as store, anyio.create_task_group() as tasks:
            writers = Writers(store.storage)
            async with store.storage.write("eve") as unit:
                await unit.changes.add([new(memory(agent_id="eve"))])
                await writers.begin(tasks)
                with anyio.fail_after(60):
                    while not writers.finished:
                        await checkpoint()
                assert writers.finished == ["bob"]

    assert len(writers.finished) == MANY + 1


async def test_an_agent_that_is_taken_back_leaves_its_place_to_the_next(storage: Storage) -> None:
    async with anyio.create_task_group() as tasks:

        async def wait_for_ever() -> None:
            async with storage.write("eve"):
                await anyio.sleep_forever()

        for _ in range(MANY):
            tasks.start_soon(wait_for_ever)
        await wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()

    async with storage.write("eve") as unit:
        await unit.changes.add([new(memory(agent_id="eve"))])
