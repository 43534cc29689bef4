"""How long a command takes beside an owner and without one, against the bare interpreter.

    python -m tests.benchmarks.commands [ROUNDS]

Each round runs, in turn: `python -c pass` (the rival: what no command can be faster than), and each command while an
owner runs and while none does. Times are milliseconds of the whole process, by the clock and of its CPU; the ratio is
that of the CPU to the rival's in the same run, which a busy machine changes little.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import attrs

from tests.shells.command import Command
from tests.shells.owners import is_owned, until
from tests.shells.serving import STDIO, conversation, environment, tool

ROUNDS = 9

COMMANDS = {
    "list": ("memory", "list"),
    "search": ("memory", "search", "where is the tea?"),
    "create": ("memory", "create", "The printer is upstairs."),
    "help": ("--help",),
}


@attrs.define
class Times:
    """What was measured of one contestant, in milliseconds."""

    wall: list[float] = attrs.Factory(list)
    cpu: list[float] = attrs.Factory(list)


def measure(words: Sequence[str], home: Path, times: Times) -> None:
    """Run a process to its end."""
    before, began = _cpu_seconds(), time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd=home, env=environment(home))
    times.wall.append(1000 * (time.perf_counter() - began))
    times.cpu.append(1000 * (_cpu_seconds() - before))


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print one line a contestant."""
    rounds = int(sys.argv[1]) if sys.argv[1:] else ROUNDS
    measured: dict[str, Times] = {"python -c pass": Times()}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        Command(Path(folder)).ok("memory", "create", "Tea is in the kitchen.")
        for _ in range(rounds):
            measure([sys.executable, "-c", "pass"], home, measured["python -c pass"])
            for beside in (True, False):
                until(lambda: not is_owned(home))
                with conversation(home) if beside else nullcontext() as terminal:
                    if terminal is not None:
                        terminal.ask(tool(1, "search_memories", query="tea"))  # loads the model
                    for name, words in COMMANDS.items():
                        times = measured.setdefault(f"{name} {'beside an owner' if beside else 'alone'}", Times())
                        measure([*STDIO, *words], home, times)
    rival = statistics.median(measured["python -c pass"].cpu)
    print(json.dumps({"rounds": rounds, "processors": os.cpu_count()}))
    print("| what | wall: median | min-max | CPU: median | times the interpreter |\n|---|---|---|---|---|")
    for name, times in measured.items():
        wall, cpu = sorted(times.wall), statistics.median(times.cpu)
        print(
            f"| {name} | {statistics.median(wall):.0f} | {wall[0]:.0f}-{wall[-1]:.0f} | {cpu:.0f} | {cpu / rival:.1f} |"
        )


if __name__ == "__main__":
    main()
