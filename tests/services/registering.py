"""`python -m tests.services.registering AGENT…` stores one memory as each agent, at once, and says who was let in.

It waits for a line on stdin, so that several processes can begin at once; the settings are those of its environment.
"""

import sys

import anyio

from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import load_settings
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.errors import LicenseLimit
from tmws_core.messages.memory import CreateMemory


async def main() -> None:
    async with open_app(load_settings(dotenv=None)) as app:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        async with anyio.create_task_group() as tasks:
            for agent_id in sys.argv[1:]:
                tasks.start_soon(enter, app, agent_id)


async def enter(app: App, agent_id: str) -> None:
    caller = Caller(agent_id=agent_id, namespace="acme", transport="python")
    try:
        await app.call(caller, CreateMemory(content=f"I am {agent_id}."))
    except LicenseLimit:
        return
    sys.stdout.write(f"{agent_id}\n")


anyio.run(main)
