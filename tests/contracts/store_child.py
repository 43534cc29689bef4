"""What other processes do with a store: `python -m tests.contracts.store_child ACTION PLACE …`.

write COUNT    wait for a line on stdin, then add COUNT memories one by one and print the id of each acknowledged one
audit COUNT    wait for a line, then write COUNT audit events one by one and print a line for each acknowledged one
open           wait for a line, then open the store and print its number of memories
unprivileged   open the store as a user without rights, and print what happened
"""

import os
import sys
from pathlib import Path

import anyio

from tests.contracts.audit_steps import events
from tests.contracts.builders import fingerprint, memory, new
from tests.contracts.stores import open_at
from tmws_adapters.migrations import runner
from tmws_adapters.sqlite import open_sqlite
from tmws_adapters.system import SystemClock, SystemIds
from tmws_core.errors import TmwsError

NOBODY = 65534
"""The user that owns nothing, by convention."""


def ready() -> None:
    """Tell the parent that imports are done, and wait for it to start all children at once."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()


async def write(place: str, count: int) -> None:
    ids = SystemIds(SystemClock())
    ready()
    async with open_at(place) as store:
        for _ in range(count):
            stored = memory(id=ids.new())
            async with store.storage.write() as unit:
                await unit.memories.known([fingerprint(stored)])
                await unit.changes.add([new(stored)])
            sys.stdout.write(f"{stored.id}\n")
            sys.stdout.flush()


async def audit(path: Path, count: int) -> None:
    ready()
    async with open_sqlite(path, synchronous="NORMAL") as store:
        for event in events(count):
            async with store.storage.write() as unit:
                await unit.audit([event])
            sys.stdout.write("written\n")
            sys.stdout.flush()


async def count_memories(place: str) -> None:
    # The slow import first, so that the processes meet at the store.
    assert runner.newest()
    ready()
    async with open_at(place) as store:
        sys.stdout.write(f"{(await store.storage.health()).memories}\n")


async def unprivileged(path: Path) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    try:
        async with open_sqlite(path):
            sys.stdout.write("opened\n")
    except TmwsError as error:
        sys.stdout.write(f"{error.code}: {error.message}\n")


def main() -> None:
    action, place, path = sys.argv[1], sys.argv[2], Path(sys.argv[2])
    match action:
        case "write":
            anyio.run(write, place, int(sys.argv[3]))
        case "audit":
            anyio.run(audit, path, int(sys.argv[3]))
        case "open":
            anyio.run(count_memories, place)
        case "unprivileged":
            anyio.run(unprivileged, path)


main()
