"""An agent that sends much at once stands in nobody's way."""

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from tests.contracts.builders import memory, new
from tmws_core.ports.storage import Storage

pytestmark = pytest.mark.anyio

MANY = 40
"""Units of one agent at once: more than a process has connections for."""

FEW = 8
"""Units of an agent that another one may have to wait for."""


async def test_others_write_while_the_many_units_of_one_agent_wait_for_each_other(storage: Storage) -> None:
    finished: list[str] = []

    async def write(agent_id: str) -> None:
        async with storage.write(agent_id) as unit:
            await unit.changes.add([new(memory(agent_id=agent_id))])
        finished.append(agent_id)

    async with anyio.create_task_group() as tasks, storage.write("eve") as unit:
        await unit.changes.add([new(memory(agent_id="eve"))])
        for _ in range(MANY):
            tasks.start_soon(write, "eve")
        await wait_all_tasks_blocked()
        tasks.start_soon(write, "bob")
        await wait_all_tasks_blocked()

    assert len(finished) == MANY + 1
    assert finished.index("bob") <= FEW


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
