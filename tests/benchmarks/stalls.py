"""How long one client keeps others waiting: `/health/live` and small calls beside the worst that another one can send.

    python -m tests.benchmarks.stalls [ROUNDS] [CASE ...]

One server on the bundled embedder. A client in a process of its own sends what a case consists of, and this process
asks meanwhile, without a pause, in turn whether the server lives, and for a small call: a memory that is read by its
id, and one sentence that is searched for by its words. Each round runs every case, with the same server idle before it.
Longest and 99th percentile of a round in milliseconds, medians of all rounds. "server" counts of each answer no more
than the CPU that the server had meanwhile, so that what else the machine does is not in it. Linux only.
"""

import http.client
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

from tests.pathological import repetitions, texts
from tests.shells.serving import HttpServer, http_server
from tmws_core.domain.memory import CONTENT_BYTES
from tmws_core.messages.memory import ALL
from tmws_mcp.bodies import BODY_BYTES

ROUNDS = 5

IDLE_SECONDS = 1.0
"""How long the idle server is asked before each case: about as long as the shortest of them takes."""

TEXTS = texts(CONTENT_BYTES)

HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}

MODERN = {**HEADERS, "mcp-protocol-version": "2026-07-28"}

PATIENCE = 120.0
"""Seconds that one request may take."""

Request = tuple[str, bytes, Mapping[str, str]]
"""Path, body and headers."""


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU that a process has had."""
    return time.clock_gettime((~pid << 3) | 2)  # what clock_getcpuclockid returns


@attrs.frozen
class Client:
    """A connection that is kept; answers are read and dropped."""

    connection: http.client.HTTPConnection

    @classmethod
    def of(cls, url: str) -> "Client":
        where = urlsplit(url)
        return cls(http.client.HTTPConnection(where.hostname or "", where.port, timeout=PATIENCE))

    def send(self, path: str, body: bytes | None = None, headers: Mapping[str, str] = HEADERS) -> bytes:
        self.connection.request("GET" if body is None else "POST", path, body, dict(headers))
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.status < 500, text[:500]
        return text


def send_all(url: str, requests: Sequence[Request]) -> float:
    """Send requests one after the other, and return the seconds of the longest one."""
    client = Client.of(url)
    longest = 0.0
    for path, body, headers in requests:
        begun = time.perf_counter()
        client.send(path, body, headers)
        longest = max(longest, time.perf_counter() - begun)
    client.connection.close()
    return longest


@attrs.define
class Waits:
    """What somebody waited, in seconds, by the clock and of the server's work."""

    by_clock: list[float] = attrs.Factory(list)
    worked: list[float] = attrs.Factory(list)

    def figures(self) -> tuple[float, float, float]:
        """Return the longest wait, the 99th percentile, and the longest of the server's work."""
        ordered = sorted(self.by_clock)
        return ordered[-1], ordered[len(ordered) * 99 // 100], max(self.worked)


@attrs.define
class Watch:
    """Asks in turn whether the server lives, and for small calls."""

    client: Client
    pid: int
    small: Sequence[tuple[str, bytes]]

    def ask(self, is_over: Callable[[], bool]) -> tuple[Waits, Waits]:
        """Return what was waited for health and for small calls until it is over."""
        health, calls = Waits(), Waits()
        number = 0
        while not is_over() or not calls.by_clock:
            self._time(health, "/health/live")
            self._time(calls, *self.small[number % len(self.small)])
            number += 1
        return health, calls

    def _time(self, waits: Waits, path: str, body: bytes | None = None) -> None:
        worked, begun = cpu_of(self.pid), time.perf_counter()
        self.client.send(path, body)
        waited = time.perf_counter() - begun
        waits.by_clock.append(waited)
        waits.worked.append(min(waited, cpu_of(self.pid) - worked))


WHOLE: Mapping[str, Any] = {"max_chars": ALL, "details": True}
"""All texts and all metadata, which an answer has only if asked for."""


def call(name: str, headers: Mapping[str, str] = HEADERS, **arguments: object) -> Request:
    return f"/mcp/tools/{name}", json.dumps(arguments, ensure_ascii=False).encode(), headers


def over_mcp(name: str, headers: Mapping[str, str], **arguments: object) -> Request:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "stalls", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": name, "arguments": arguments, "_meta": meta}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    more = {"mcp-method": "tools/call", "mcp-name": name} if headers is MODERN else {}
    return "/mcp", json.dumps(message, ensure_ascii=False).encode(), {**headers, **more}


def cases() -> Iterator[tuple[str, list[Request]]]:
    """Yield what each case sends; what is read back has been stored by a case before it."""
    yield "store the worst texts", [call("create_memory", content=text) for text in TEXTS.values()]
    yield "search for the worst texts", [call("search_memories", query=text, limit=100) for text in TEXTS.values()]
    label = TEXTS["marks"][:100]
    tags = [f"{number}{TEXTS['ligatures'][:60]}" for number in range(32)]
    yield (
        "store the worst labels",
        [call("create_memory", content=f"a {n}", tags=tags, source=label) for n in range(30)],
    )
    for size, many in (8_000, 900), (CONTENT_BYTES, 110):
        batch = [{"content": f"{each} {'words and others ' * (size // 17 - 1)}"} for each in range(many)]
        yield f"batch of {many} texts of {size // 1000} KB", [call("create_memories", memories=batch)]
    short = [{"content": f"a short text, number {number}", "tags": ["a", "b"]} for number in range(1000)]
    yield "batch of 1,000 short texts", [call("create_memories", memories=short)]
    for name, memories in repetitions():
        yield f"batch: {name}", [call("create_memories", memories=memories)] * 2
    yield "lists of 6 MB over REST", [call("list_memories", limit=100, **WHOLE)] * 5
    yield "lists of 6 MB over MCP", [over_mcp("list_memories", HEADERS, limit=100, **WHOLE)] * 5
    yield "lists of 6 MB over MCP, no sessions", [over_mcp("list_memories", MODERN, limit=100, **WHOLE)] * 5
    yield (
        "searches of 6 MB over REST",
        [call("search_memories", query="word", mode="lexical", limit=100, **WHOLE)] * 5,
    )
    for piece in "[]", '"a"', '{"a":1}', "1":
        many = BODY_BYTES // (len(piece) + 1) - 100
        body = f'{{"tags":[{",".join([piece] * many)}]}}'.encode()
        yield f"8 MB of `{piece}`", [("/mcp/tools/create_memory", body, HEADERS)] * 5
    most = ",".join(['"a"'] * 390_000)
    yield "390,000 tags", [("/mcp/tools/create_memory", f'{{"tags":[{most}]}}'.encode(), HEADERS)] * 5
    names = ",".join(f'"{number:x}":1' for number in range(390_000))
    yield "390,000 names", [("/mcp/tools/create_memory", f"{{{names}}}".encode(), HEADERS)] * 5


def small_calls(server: HttpServer) -> list[tuple[str, bytes]]:
    """Store a memory, and return calls that ask for it."""
    session = "a session of small calls"
    text = "the harbour opens at seven"
    stored = server.call("create_memory", content=text, session_id=session).json()["memory_id"]
    calls = (
        call("get_memory", memory_id=stored),
        call("search_memories", query=text, session_id=session, mode="lexical"),
    )
    return [(path, body) for path, body, _ in calls]


def measure(rounds: int, wanted: Sequence[str]) -> dict[str, list[list[float]]]:
    """Return the figures of each case, of each round."""
    figures: dict[str, list[list[float]]] = {}

    def note(name: str, waits: tuple[Waits, Waits], longest: float) -> None:
        row = [each for part in waits for each in part.figures()]
        figures.setdefault(name, []).append([value * 1000 for value in (*row, longest)])

    for _ in range(rounds):
        with (
            tempfile.TemporaryDirectory() as home,
            http_server(Path(home), TMWS_RATE_LIMIT_ENABLED="false") as server,
            ProcessPoolExecutor(1) as others,
        ):
            watch = Watch(Client.of(server.url), server.process.pid, small_calls(server))
            for name, requests in cases():
                if wanted and not any(each in name for each in wanted):
                    continue
                end = time.perf_counter() + IDLE_SECONDS
                note("idle", watch.ask(lambda end=end: time.perf_counter() > end), 0.0)  # type: ignore[misc] # bound now
                sending: Future[float] = others.submit(send_all, server.url, requests)
                note(name, watch.ask(sending.done), sending.result())
    return figures


def main() -> None:
    """Print a table."""
    rounds = int(sys.argv[1]) if sys.argv[1:] else ROUNDS
    print("| beside | health, longest | p99 | server | small calls, longest | p99 | server | its longest request |")
    print("|---|---|---|---|---|---|---|---|")
    for name, rows in measure(rounds, sys.argv[2:]).items():
        medians = [statistics.median(column) for column in zip(*rows, strict=True)]
        print(f"| {name} | {' | '.join(f'{value:.1f}' for value in medians[:-1])} | {medians[-1]:.0f} |")


if __name__ == "__main__":
    main()
