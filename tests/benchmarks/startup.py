"""How fast an agent terminal is ready, and what ten of them cost.

    python -m tests.benchmarks.startup [ROUNDS]

Each round starts, in turn: a terminal while an owner runs ("warm"), the first terminal of a data directory ("cold"),
and a minimal server of the MCP SDK alone, with one tool that does nothing, as the rival. Measured is the time from the
start of the process to its first answer to `tools/call`, behind the usual introduction, and then 200 further calls, one
after the other. Times are milliseconds. Linux only: memory is read from `/proc`.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from tests.shells.owners import is_owned, owner_of, until
from tests.shells.serving import STDIO, environment, request, tool

ROUNDS = 15
CALLS = 200
TERMINALS = 10

RIVAL = """
import anyio, mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

async def page(context, params):
    return types.ListToolsResult(tools=[types.Tool(name="nothing", input_schema={"type": "object"})])

async def call(context, params):
    return types.CallToolResult(content=[types.TextContent(type="text", text="{}")])

async def main():
    server = Server("rival", on_list_tools=page, on_call_tool=call)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())

anyio.run(main)
"""

INTRODUCTION = (
    request(0, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "b", "version": "1"}),
    b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n',
)


@attrs.define
class Times:
    """What was measured of one contestant, in milliseconds."""

    ready: list[float] = attrs.Factory(list)
    calls: list[float] = attrs.Factory(list)

    def line(self, name: str) -> str:
        ready, calls = sorted(self.ready), statistics.median(self.calls)
        return f"| {name} | {statistics.median(ready):.0f} | {ready[0]:.0f}-{ready[-1]:.0f} | {calls:.2f} |"


def ask(process: "subprocess.Popen[bytes]", *lines: bytes) -> None:
    assert process.stdin
    assert process.stdout
    process.stdin.write(b"".join(lines))
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    assert "result" in answer, answer


@contextmanager
def ready(command: Sequence[str], home: Path, call: bytes, times: Times) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a server and measure it; it ends with the block."""
    variables = environment(home, TMWS_OWNER_IDLE_SECONDS="2")
    started = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=home, env=variables) as process:
        ask(process, INTRODUCTION[0])
        ask(process, INTRODUCTION[1], call)
        times.ready.append((time.perf_counter() - started) * 1000)
        for _ in range(CALLS):
            begun = time.perf_counter()
            ask(process, call)
            times.calls.append((time.perf_counter() - begun) * 1000)
        yield process
        assert process.stdin
        process.stdin.close()


def memory(pid: int) -> tuple[float, float]:
    """Return RSS and PSS of a process in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}
    return sizes["Rss"], sizes["Pss"]


def sizes(pids: Sequence[int]) -> str:
    resident, shared = zip(*(memory(pid) for pid in pids), strict=True)
    return f"{statistics.median(resident):.1f} | {statistics.median(shared):.1f} | {sum(shared):.0f}"


def main() -> None:
    """Print a table of times, and one of memory."""
    rounds = int(sys.argv[1]) if sys.argv[1:] else ROUNDS
    stats = tool(1, "get_memory_stats")
    nothing = tool(1, "nothing")
    rival = [sys.executable, "-c", RIVAL]
    warm, cold, alone = Times(), Times(), Times()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "warm"
        with ready(STDIO, home, stats, Times()):
            for number in range(rounds):
                with ready(STDIO, home, stats, warm):
                    pass
                first = Path(folder) / f"cold-{number}"
                with ready(STDIO, first, stats, cold):
                    owner = owner_of(first).pid
                os.kill(owner, signal.SIGTERM)
                with ready(rival, home, nothing, alone):
                    pass
        print("| start to the first answer | median, ms | range, ms | further calls, median ms |\n|---|---|---|---|")
        print(warm.line("`tmws`, an owner runs"))
        print(cold.line("`tmws`, the first terminal"))
        print(alone.line("a server of the MCP SDK alone"))
        print("\n| memory, MB | RSS each | PSS each | PSS of all |\n|---|---|---|---|")
        with ExitStack() as stack:
            terminals = [stack.enter_context(ready(STDIO, home, stats, Times())) for _ in range(TERMINALS)]
            rivals = [stack.enter_context(ready(rival, home, nothing, Times())) for _ in range(TERMINALS)]
            print(f"| {TERMINALS} terminals | {sizes([each.pid for each in terminals])} |")
            print(f"| their owner | {sizes([owner_of(home).pid])} |")
            print(f"| {TERMINALS} servers of the SDK | {sizes([each.pid for each in rivals])} |")
        until(lambda: not is_owned(home))


if __name__ == "__main__":
    main()
