"""One client sends what takes the longest; another one, which asks whether the server lives, is answered meanwhile.

What one request may cost is bounded by the CPU of the server. Where it may cost more, as a batch may, somebody asks
beside it whether the server lives.
"""

import http.client
import os
import random
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from threading import Condition, Thread
from urllib.parse import urlsplit

import attrs
import httpx
import pytest

from tests.fuzz.loads import JSON, PING, TEXTS, Load, bearers, body_of, heads, introductions, lines_of
from tests.fuzz.world import HANG, SECONDS, World, bursts, leaks, prepare
from tests.pathological import repetitions
from tests.shells.serving import HttpServer, conversation, http_server, request
from tmws_core.app import SERVICES
from tmws_core.domain.memory import CONTENT_BYTES
from tmws_core.operation import operations_described_by
from tmws_core.schema import schema_of

COST = 1.0
"""Seconds of the server's work that one request may cost: what grows with the square of a text takes several."""

STALL = float(os.environ.get("FUZZ_STALL", "0.5"))
"""Seconds of the server's work for which nobody may be kept waiting beside what costs more. The longest stall is 0.03 s
in most runs; `FUZZ_STALL=0.1` asks for about that."""

HEAD_COST = 0.2
"""Seconds of the server's work that a head may cost: it takes 2 ms, and what grows with its square several seconds."""

BURSTS = 2
"""Bursts of a run that is given no time."""

ANSWERS = {200, 202, *range(400, 500), 503}
"""Answers, refusals, and what takes longer than a request may."""

pytestmark = pytest.mark.timeout(SECONDS + 240)


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU that a process has had, or those of the clock where the system does not tell."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # what clock_getcpuclockid returns on Linux
    except OSError:
        return time.perf_counter()


@attrs.define
class Watch:
    """Asks without a pause, while it is begun, whether the server lives, and knows what the longest answer took.

    Of each answer counts no more than the CPU that the server had meanwhile: on a machine that is busy with something
    else it waits for its turn as everybody does.
    """

    url: str
    pid: int
    _longest: float = 0.0
    _asks: bool = False
    _is_asking: bool = False
    _over: bool = False
    _change: Condition = attrs.field(factory=Condition)

    def run(self) -> None:
        """Ask when it is time until it is over."""
        where = urlsplit(self.url)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=HANG * 6)
        while self._wait():
            before, worked = time.perf_counter(), cpu_of(self.pid)
            connection.request("GET", "/health/live")
            assert b"alive" in connection.getresponse().read()
            self._longest = max(self._longest, min(time.perf_counter() - before, cpu_of(self.pid) - worked))
        connection.close()

    def begin(self) -> None:
        """Forget what was, and ask from now on."""
        with self._change:
            self._longest, self._asks = 0.0, True
            self._change.notify_all()

    def longest(self) -> float:
        """Ask no more, and return what the longest answer took, that of the question on its way included."""
        with self._change:
            self._asks = False
            assert self._change.wait_for(lambda: not self._is_asking, timeout=HANG * 6), "the server does not answer"
            return self._longest

    def stop(self) -> None:
        """Never ask again."""
        with self._change:
            self._over = True
            self._change.notify_all()

    def _wait(self) -> bool:
        with self._change:
            self._is_asking = False
            self._change.notify_all()
            self._change.wait_for(lambda: self._asks or self._over)
            self._is_asking = not self._over
            return self._is_asking


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return prepare(tmp_path_factory.mktemp("time") / "home")


@pytest.fixture(scope="module")
def server(world: World) -> Iterator[HttpServer]:
    with http_server(world.home, **world.settings) as running:
        running.client.headers.update(world.headers)
        yield running
        assert "Traceback" not in running.stop()


@pytest.fixture(scope="module")
def watch(server: HttpServer) -> Iterator[Watch]:
    watch = Watch(server.url, server.process.pid)
    thread = Thread(target=watch.run)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join()


@attrs.frozen
class Client:
    """Sends what takes long; `figures` are what it cost, or how long others waited, and how long it took."""

    http: httpx.Client
    watch: Watch
    figures: list[str] = attrs.field(factory=list)

    def send(self, path: str, body: bytes, what: str) -> None:
        """Send one request; it costs no more than COST."""
        cost = cpu_of(self.watch.pid)
        self._post(path, body, what, None, lambda: cpu_of(self.watch.pid) - cost, COST)

    def send_beside(self, path: str, body: bytes, what: str, headers: Mapping[str, str] | None = None) -> None:
        """Send one request; nobody waits for it longer than STALL."""
        self.watch.begin()
        self._post(path, body, what, headers, self.watch.longest, STALL)

    def _post(  # noqa: PLR0917 - of its two callers
        self,
        path: str,
        body: bytes,
        what: str,
        headers: Mapping[str, str] | None,
        figure: Callable[[], float],
        most: float,
    ) -> None:
        before = time.perf_counter()
        answer = self.http.post(path, content=body, headers=headers)
        taken, figured = time.perf_counter() - before, figure()
        self.figures.append(f"{figured:.3f} of {taken:6.2f} s: {answer.status_code} {path} {len(body)} bytes, {what}")
        assert figured < most, self.figures[-1]
        assert answer.status_code in ANSWERS, f"{self.figures[-1]}: {answer.text[:1000]}"
        assert not leaks(answer.text[:2000], body.decode(errors="replace")), self.figures[-1]


@pytest.fixture
def client(world: World, server: HttpServer, watch: Watch) -> Iterator[Client]:
    headers = {**world.headers, **JSON}
    with httpx.Client(base_url=server.url, timeout=HANG * 6, trust_env=False, headers=headers) as http:
        client = Client(http, watch)
        yield client
    print("", *sorted(client.figures, reverse=True)[:20], sep="\n")  # noqa: T201 - what `pytest -s` shows


def test_each_of_the_worst_texts_is_stored_and_searched_for(client: Client) -> None:
    for name, text in TEXTS.items():
        client.send("/mcp/tools/create_memory", body_of({"content": text}), name)
        client.send("/mcp/tools/search_memories", body_of({"query": text, "limit": 1}), name)
    client.send_beside("/mcp/tools/search_memories", body_of({"query": "a", "limit": 100}), "all of them")


def test_the_largest_repetitions_are_stored_beside_others(server: HttpServer, client: Client) -> None:
    for name, memories in repetitions():
        client.send_beside("/mcp/tools/create_memories", body_of({"memories": memories}), name)
    shared = {"content": "d", "access_level": "shared", "shared_with": ["bob"]}
    memory_id = server.call("create_memory", **shared).json()["memory_id"]
    for text in [*(f"{number} ".ljust(CONTENT_BYTES, "d") for number in range(5)), "d"]:
        client.send("/mcp/tools/update_memory", body_of({"memory_id": memory_id, "content": text}), "a former text")
    keyed = [{**shared, "idempotency_key": f"k{number}"} for number in range(1000)]
    client.send_beside("/mcp/tools/create_memories", body_of({"memories": keyed}), "former texts")


def test_whoever_asks_beside_it_is_answered(server: HttpServer, client: Client) -> None:
    memory_id = server.call("create_memory", content="an ordinary text").json()["memory_id"]
    described = operations_described_by(SERVICES)
    schemas = {name: schema_of(operation.request) for name, operation in described.items()}
    for number, seed in enumerate(bursts(SECONDS if "FUZZ_SECONDS" in os.environ else HANG * 60)):
        if number == BURSTS and "FUZZ_SECONDS" not in os.environ:
            break
        load = Load(random.Random(seed), schemas, memory_id)
        for name, arguments in load.requests():
            path, body = load.face(name, arguments)
            client.send_beside(path, body, f"{name} {arguments[:60]!r} FUZZ_SEED={seed}", load.headers())


def ask(server: HttpServer, target: bytes, lines: list[bytes]) -> tuple[int, float]:
    """Ask on a connection of its own; return the status, and the seconds of CPU that the server worked."""
    where = urlsplit(server.url)
    worked = cpu_of(server.process.pid)
    ends = [f"content-length: {len(PING)}".encode(), b"connection: close"]
    with socket.create_connection((where.hostname, where.port), timeout=HANG * 6) as connection:
        connection.sendall(b"\r\n".join([b"POST " + target + b" HTTP/1.1", *lines, *ends, b"", b""]) + PING)
        status = connection.makefile("rb").readline().split()[1]
        while connection.recv(65536):
            pass
    return int(status), cpu_of(server.process.pid) - worked


def test_no_head_takes_long(world: World, server: HttpServer) -> None:
    for what, target, lines in heads(world.key):
        status, cost = ask(server, target, lines)
        assert status in ANSWERS, what
        assert cost < HEAD_COST, f"{cost:.3f} s of {what}"


def test_no_credential_takes_long(server: HttpServer) -> None:
    for what, credential in bearers():
        status, cost = ask(
            server, b"/mcp", [b"host: 127.0.0.1", *lines_of(JSON), b"authorization: Bearer " + credential]
        )
        assert status in {400, 401, 429, 431}, what
        assert cost < HEAD_COST, f"{cost:.3f} s of {what}"


def test_no_introduction_takes_long(client: Client) -> None:
    for what, line in introductions():
        client.send("/mcp", line, what)


@pytest.mark.embedded("the server of a PostgreSQL store has no clients over stdio")
def test_no_line_of_stdio_takes_long(world: World, watch: Watch) -> None:
    settings = {name: value for name, value in world.settings.items() if name != "TMWS_SECRET_KEY"}
    lines = [*introductions(), *((f"blank lines of {each!r}", each * 2**14) for each in (b"\n", b" \n", b"\r\n"))]
    lines += [("notifications", b'{"jsonrpc":"2.0","method":"a"}\n' * 2**13), ("no messages", b"[]\n" * 2**10)]
    with conversation(world.home, **settings) as terminal:
        for number, (what, line) in enumerate(lines, start=10):
            watch.begin()
            terminal.send(line, b"\n", request(number, "ping"))
            while terminal.receive()["id"] != number:
                pass
            waited = watch.longest()
            assert waited < STALL, f"{waited:.3f} s of {what}"
