"""A process that uses the library: `python -m tests.faults.writing WRITER COUNT`, with settings from its environment.

It says "ready", waits for a line, opens the store and writes COUNT notes; without any, it works in the background until
its input ends. Each acknowledged note is one line of JSON, with its id, its number and, in a file, the place in the
write-ahead log behind its commit.
"""

import json
import sys

import anyio

from tests.faults.journal import note
from tests.faults.log import place
from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import Settings, load_settings
from tmws_core.messages.memory import CreateMemory


async def write(settings: Settings, writer: str, count: int) -> None:
    caller = settings.operator()
    async with open_app(settings) as app:
        for number in range(count):
            created = await app.call(caller, CreateMemory(content=note(writer, number)))
            say(
                {
                    "id": created.memory_id,
                    "number": number,
                    "place": None if settings.uses_postgres else place(settings.sqlite_path),
                }
            )
        if not count:
            await anyio.to_thread.run_sync(sys.stdin.read)


def say(message: object) -> None:
    sys.stdout.write(f"{json.dumps(message)}\n")
    sys.stdout.flush()


def main() -> None:
    settings = load_settings(dotenv=None)
    say("ready")
    sys.stdin.readline()
    anyio.run(write, settings, sys.argv[1], int(sys.argv[2]))


if __name__ == "__main__":
    main()
