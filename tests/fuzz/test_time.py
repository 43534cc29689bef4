"""One client sends what takes the longest; another one, which asks whether the server lives, is answered meanwhile."""

import json
import os
import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Condition, Thread
from typing import Any

import attrs
import httpx
import pytest

from tests.fuzz.world import HANG, SECONDS, World, bursts, leaks, prepare
from tests.pathological import repetitions, texts
from tests.shells.serving import HttpServer, http_server
from tmws_core.app import SERVICES
from tmws_core.domain.memory import CONTENT_BYTES
from tmws_core.operation import operations_described_by
from tmws_core.schema import JsonSchema, schema_of
from tmws_mcp.bodies import BODY_BYTES

STALL = float(os.environ.get("FUZZ_STALL", "1.0"))
"""Seconds for which nobody may be kept waiting. What grows with the square of a text takes several; on a quiet machine
the longest stall is 0.05 s, and `FUZZ_STALL=0.1` asks for about that."""

TEXTS = texts(CONTENT_BYTES)

PIECES = ["[]", "{}", '"a"', "1", "null", '{"a":1}', "[[]]", '"\\u0301"', "1e9"]
"""Of which there may be millions in one body."""

ANSWERS = {200, 400, 403, 404, 409, 413, 429, 503}
"""Answers, refusals, and what takes longer than a request may."""

pytestmark = pytest.mark.timeout(SECONDS + 240)


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU that a process has had, or those of the clock where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return time.perf_counter()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@attrs.define
class Watch:
    """Asks without a pause whether the server lives, and knows what the longest answer took, in seconds.

    `longest` is by the clock; `longest_working` counts of each answer no more than the CPU that the server had
    meanwhile: on a machine that is busy with something else it waits for its turn as everybody does.
    """

    url: str
    pid: int
    _longest: float = 0.0
    _longest_working: float = 0.0
    _asked: int = 0
    _over: bool = False
    _change: Condition = attrs.field(factory=Condition)

    def run(self) -> None:
        """Ask until it is over."""
        with httpx.Client(base_url=self.url, timeout=HANG * 6, trust_env=False) as client:
            while not self._over:
                before, worked = time.perf_counter(), cpu_of(self.pid)
                client.get("/health/live").raise_for_status()
                waited, worked = time.perf_counter() - before, cpu_of(self.pid) - worked
                with self._change:
                    self._longest = max(self._longest, waited)
                    self._longest_working = max(self._longest_working, min(waited, worked))
                    self._asked += 1
                    self._change.notify_all()

    def begin(self) -> None:
        """Forget what was, once the question that is on its way is answered."""
        self._wait()
        self._longest = self._longest_working = 0.0

    def longest(self) -> float:
        """Return what the longest answer since `begin` took, that of the question on its way included."""
        self._wait()
        return self._longest

    def longest_working(self) -> float:
        """Return the same of what the server worked, after `longest`."""
        return self._longest_working

    def stop(self) -> None:
        """Ask no more."""
        self._over = True

    def _wait(self) -> None:
        with self._change:
            asked = self._asked
            assert self._change.wait_for(lambda: self._asked > asked + 1, timeout=HANG * 6)


@pytest.fixture
def watch(server: HttpServer) -> Iterator[Watch]:
    watch = Watch(server.url, server.process.pid)
    thread = Thread(target=watch.run)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return prepare(tmp_path / "home")


@pytest.fixture
def server(world: World) -> Iterator[HttpServer]:
    with http_server(world.home, **world.settings) as running:
        running.client.headers.update(world.headers)
        yield running
        assert "Traceback" not in running.stop()


@attrs.frozen
class Load:
    """Makes bodies at the limits of each operation, from a seed."""

    chance: random.Random
    operations: dict[str, JsonSchema]
    memory_id: str

    def requests(self) -> Iterator[tuple[str, bytes]]:
        """Yield operations and bodies, of each kind one."""
        for _ in range(6):
            yield self._text()
        yield self._batch()
        yield self._pieces()
        yield self._names()

    def face(self, name: str, arguments: bytes) -> tuple[str, bytes]:
        """Return the path and the body of a call over REST, or over MCP."""
        if self.chance.random() < 0.6:
            return f"/mcp/tools/{name}", arguments
        head = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call"})[:-1]
        return "/mcp", f'{head}, "params": {{"name": "{name}", "arguments": '.encode() + arguments + b"}}"

    def headers(self) -> dict[str, str]:
        """Return headers of this era of the protocol or of the next one."""
        return self.chance.choice(({}, {}, {"mcp-protocol-version": "2026-07-28"}))

    def _text(self) -> tuple[str, bytes]:
        """Put the text of one kind into every field, as much of it as may be there."""
        name = self.chance.choice(sorted(self.operations))
        return name, _body(self._arguments(self.operations[name], self.chance.choice(list(TEXTS.values()))))

    def _batch(self) -> tuple[str, bytes]:
        """Store as much as one body may hold."""
        size, room = self.chance.choice(((8_000, 2**18), (CONTENT_BYTES, 2**19), (1000, 2**17)))
        kinds = self.chance.sample(list(TEXTS.values()), self.chance.choice((1, 4)))
        memories: list[dict[str, str]] = []
        while room > 0 and len(memories) < 1000:
            text = f"{_cut(kinds[len(memories) % len(kinds)], size - 20)} {self.chance.random():.12f}"
            room -= len(_body({"content": text})) + 20
            memories.append({"content": text})
        return "create_memories", _body({"memories": memories[:-1]})

    def _pieces(self) -> tuple[str, bytes]:
        """Put a list of endless items into a field that wants one, or something else."""
        name = self.chance.choice(sorted(self.operations))
        field = self.chance.choice([*self.operations[name]["properties"], "unknown"])
        piece = self.chance.choice(PIECES)
        size = self.chance.choice((BODY_BYTES, BODY_BYTES // 8)) - 1000
        return name, f'{{"{field}":[{",".join([piece] * (size // (len(piece) + 1)))}]}}'.encode()

    def _names(self) -> tuple[str, bytes]:
        """Give names that there are not: one that is endless, or endlessly many."""
        name = self.chance.choice(sorted(self.operations))
        if self.chance.random() < 0.5:
            return name, _body({self.chance.choice(list(TEXTS.values())) * 60: 1})
        return name, ("{" + ",".join(f'"{number:07}":1' for number in range(BODY_BYTES // 14)) + "}").encode()

    def _arguments(self, schema: JsonSchema, text: str) -> dict[str, Any]:
        return {
            name: self._value(field, text)
            for name, field in schema["properties"].items()
            if name in schema.get("required", ()) or self.chance.random() < 0.3
        }

    def _value(self, field: JsonSchema, text: str) -> Any:
        match field:
            case {"enum": choices}:
                return self.chance.choice(choices)
            case {"type": "array", "items": items}:
                return [self._value(items, text) for _ in range(min(field["maxItems"], 100))]
            case {"type": "object"}:
                if "properties" in field:
                    return self._arguments(field, text)
                return {f"{number}{_cut(text, 4)}": [[], {}] for number in range(1000)}
            case {"type": "string"}:
                is_id = "[0-9a-f]{8}-" in field.get("pattern", "")
                return self.memory_id if is_id else _cut(text, field.get("maxLength", CONTENT_BYTES))
        return field.get("maximum", True)


def _body(arguments: dict[str, Any]) -> bytes:
    return json.dumps(arguments, ensure_ascii=False).encode()


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")


@attrs.frozen
class Client:
    """Sends what takes long; `figures` are how long others waited, and how long it took."""

    http: httpx.Client
    watch: Watch
    figures: list[str] = attrs.field(factory=list)

    def send(self, path: str, body: bytes, what: str, headers: Mapping[str, str] | None = None) -> None:
        """Send one request; nobody waits for it longer than STALL."""
        self.watch.begin()
        before = time.perf_counter()
        answer = self.http.post(path, content=body, headers=headers)
        taken = time.perf_counter() - before
        waited = self.watch.longest()
        self.figures.append(f"{waited:.3f} of {taken:6.2f} s: {answer.status_code} {path} {len(body)} bytes, {what}")
        assert self.watch.longest_working() < STALL, self.figures[-1]
        assert answer.status_code in ANSWERS, f"{self.figures[-1]}: {answer.text[:1000]}"
        assert not leaks(answer.text[:2000], body.decode(errors="replace")), self.figures[-1]


@pytest.fixture
def client(world: World, server: HttpServer, watch: Watch) -> Iterator[Client]:
    headers = {**world.headers, "content-type": "application/json", "accept": "application/json, text/event-stream"}
    with httpx.Client(base_url=server.url, timeout=HANG * 6, trust_env=False, headers=headers) as http:
        client = Client(http, watch)
        yield client
    print("", *sorted(client.figures, reverse=True)[:20], sep="\n")  # noqa: T201 - what `pytest -s` shows


def test_each_of_the_worst_texts_is_stored_and_searched_for_beside_others(client: Client) -> None:
    for name, text in TEXTS.items():
        client.send("/mcp/tools/create_memory", _body({"content": text}), name)
        client.send("/mcp/tools/search_memories", _body({"query": text, "limit": 100}), name)


def test_the_largest_repetitions_are_stored_beside_others(server: HttpServer, client: Client) -> None:
    for name, memories in repetitions():
        client.send("/mcp/tools/create_memories", _body({"memories": memories}), name)
    shared = {"content": "d", "access_level": "shared", "shared_with": ["bob"]}
    memory_id = server.call("create_memory", **shared).json()["memory_id"]
    for text in [*(f"{number} ".ljust(CONTENT_BYTES, "d") for number in range(5)), "d"]:
        client.send("/mcp/tools/update_memory", _body({"memory_id": memory_id, "content": text}), "a former text")
    keyed = [{**shared, "idempotency_key": f"k{number}"} for number in range(1000)]
    client.send("/mcp/tools/create_memories", _body({"memories": keyed}), "former texts")


def test_whoever_asks_beside_it_is_answered(server: HttpServer, client: Client) -> None:
    memory_id = server.call("create_memory", content="an ordinary text").json()["memory_id"]
    described = operations_described_by(SERVICES)
    schemas = {name: schema_of(operation.request) for name, operation in described.items()}
    for seed in bursts():
        load = Load(random.Random(seed), schemas, memory_id)
        for name, arguments in load.requests():
            path, body = load.face(name, arguments)
            client.send(path, body, f"{name} {arguments[:60]!r} FUZZ_SEED={seed}", load.headers())
