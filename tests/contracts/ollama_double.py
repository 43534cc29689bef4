"""A double of an Ollama server, on a real loopback socket: no Ollama runs where these tests run.

It keeps the HTTP contract of Ollama 0.33 (`/api/embed`, `/api/tags`, `/api/version`, errors included) or, with
`modern=False`, that of servers which only have `/api/embeddings`. What it does not have is a model: vectors are hashes
of the texts, or come from `bundled_vectors`.
"""

import enum
import functools
import hashlib
import json
import math
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs

from tmws_adapters.onnx.files import find_files
from tmws_adapters.onnx.inference import LoadedModel

Vectors = Callable[[Sequence[str]], list[list[float]]]

MODEL = "zylonai/multilingual-e5-large"

DIGEST = hashlib.sha256(b"weights of the double").hexdigest()

SLOW_SECONDS = 0.4


class Fault(enum.Enum):
    """What can go wrong with one request; the first group are Ollama's own errors, with its status and words."""

    BUSY = (503, "server busy, please try again.  maximum pending requests exceeded")
    NAN_ERROR = (400, "embedding contains NaN or Inf values")
    CONTEXT_LENGTH = (400, "the input length exceeds the context length")
    INVALID_INPUT = (400, "invalid input type")
    SERVER_ERROR = (500, "llama runner process has terminated")
    UNAUTHORIZED = (401, "unauthorized")

    SLOW = "answers after SLOW_SECONDS"
    HUNG = "does not answer before the double stops"
    DROPPED = "closes the connection instead of an answer"
    CUT_OFF = "closes the connection in the middle of the answer"
    MALFORMED = "answers with something that is no JSON"
    NOT_AN_OBJECT = "answers with a JSON list"
    NO_EMBEDDINGS = "leaves the embeddings out"
    TOO_FEW = "leaves the last embedding out"
    EMPTY = "has an embedding without values"
    RAGGED = "has an embedding that is shorter than the others"
    SHORTER = "has embeddings that are all shorter than before"
    NOT_A_NUMBER = "has NaN among the values"
    OVERFLOWING = "has a value beyond any float"
    TEXT = "has a text among the values"
    ZERO = "has an embedding of zeros"


def _but_last(rows: list[list[Any]], change: Callable[[list[Any]], list[Any]]) -> list[list[Any]]:
    return [*rows[:-1], change(rows[-1])]


_SPOILED: dict[Fault, Callable[[list[list[Any]]], list[list[Any]] | None]] = {
    Fault.NO_EMBEDDINGS: lambda _: None,
    Fault.TOO_FEW: lambda rows: rows[:-1],
    Fault.EMPTY: lambda rows: _but_last(rows, lambda _: []),
    Fault.RAGGED: lambda rows: _but_last(rows, lambda row: row[1:]),
    Fault.SHORTER: lambda rows: [row[1:] for row in rows],
    Fault.NOT_A_NUMBER: lambda rows: _but_last(rows, lambda row: [math.nan, *row[1:]]),
    Fault.OVERFLOWING: lambda rows: _but_last(rows, lambda row: [10**400, *row[1:]]),
    Fault.TEXT: lambda rows: _but_last(rows, lambda row: ["0.5", *row[1:]]),
    Fault.ZERO: lambda rows: _but_last(rows, lambda row: [0.0] * len(row)),
}


@attrs.frozen(kw_only=True)
class Request:
    """A request as the double got it."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


def hashed_vectors(texts: Sequence[str], dimension: int = 64) -> list[list[float]]:
    """Return for each text a vector that is its own and not normalised; similar texts are no nearer than others."""
    return [[byte - 127.5 for byte in hashlib.shake_256(text.encode()).digest(dimension)] for text in texts]


def bundled_vectors(texts: Sequence[str]) -> list[list[float]]:
    """Return the vectors of the bundled model, for tests in which nearness matters; the first call loads it."""
    model = _bundled_model()
    return [list(memoryview(vector.data).cast("f")) for vector in model.vectors(model.windows(texts))]


@functools.cache
def _bundled_model() -> LoadedModel:
    return LoadedModel.load(find_files(None))


@contextmanager
def ollama_double(
    *, model: str = MODEL, modern: bool = True, digest: str = DIGEST, vectors: Vectors = hashed_vectors
) -> Iterator["OllamaDouble"]:
    """Run a double that has pulled one model."""
    double = OllamaDouble(model=model, modern=modern, digest=digest, vectors=vectors)
    double.start()
    try:
        yield double
    finally:
        double.stop()


class OllamaDouble:
    """The double; `requests` holds what it was asked since its making, in order."""

    def __init__(self, *, model: str, modern: bool, digest: str, vectors: Vectors) -> None:
        self.model = model
        self.modern = modern
        self.digest = digest
        self.vectors = vectors
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self._faults: deque[Fault] = deque()
        self._port = 0
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    def fail_next(self, fault: Fault, times: int = 1) -> None:
        """Let the next requests for embeddings fail, after those that are to fail already."""
        self._faults.extend([fault] * times)

    def forgive(self) -> None:
        """Let nothing more fail."""
        self._faults.clear()

    def next_fault(self) -> Fault | None:
        return self._faults.popleft() if self._faults else None

    def start(self) -> None:
        """Listen, on the former port after a stop."""
        self.stopping.clear()
        self._server = _Server(self, self._port)
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and close all connections; does nothing if it is stopped."""
        if self._server is None or self._thread is None:
            return
        self.stopping.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()
        self._server = self._thread = None


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128  # with the default of 5 a burst of connections waits a second for its SYN to be sent again

    def __init__(self, double: OllamaDouble, port: int) -> None:
        self.double = double
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        for connection in list(self._open):
            with _already_closed():
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are what some tests are about."""


@contextmanager
def _already_closed() -> Iterator[None]:
    try:
        yield
    except OSError:
        return


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        self._record({})
        match self.path:
            case "/api/tags":
                name = self._double.model
                listed = name if ":" in name else f"{name}:latest"
                self._json(200, {"models": [{"name": listed, "model": listed, "digest": self._double.digest}]})
            case "/api/version":
                self._json(200, {"version": "0.33.0" if self._double.modern else "0.1.32"})
            case _:
                self._no_route()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._record(body)
        routes = {"/api/embeddings": self._embeddings}
        if self._double.modern:
            routes["/api/embed"] = self._embed
        if self.path not in routes:
            self._no_route()
        elif body.get("model", "").removesuffix(":latest") != self._double.model.removesuffix(":latest"):
            self._json(404, {"error": f'model "{body.get("model")}" not found, try pulling it first'})
        else:
            self._answer(routes[self.path], body, self._double.next_fault())

    def _answer(
        self, route: Callable[[dict[str, Any], Fault | None], None], body: dict[str, Any], fault: Fault | None
    ) -> None:
        match fault:
            case None:
                route(body, None)
            case Fault(value=(status, words)):
                self._json(status, {"error": words})
            case Fault.DROPPED:
                self.close_connection = True
            case Fault.CUT_OFF:
                self._send(200, b'{"embeddings": [[0.1,', "application/json", length=100)
                self.close_connection = True
            case Fault.MALFORMED:
                self._send(200, b"<html>Welcome</html>", "text/html")
            case Fault.NOT_AN_OBJECT:
                self._json(200, [1.0, 2.0])
            case Fault.SLOW | Fault.HUNG:
                self._double.stopping.wait(SLOW_SECONDS if fault is Fault.SLOW else None)
                route(body, None)
            case _:
                route(body, fault)

    def _embed(self, body: dict[str, Any], fault: Fault | None) -> None:
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        rows = [] if texts == [""] else self._rows(texts)
        unit = [[value / math.hypot(*row) for value in row] for row in rows]
        embeddings = _SPOILED[fault](unit) if fault else unit
        self._json(200, {"model": body["model"], "embeddings": embeddings, "total_duration": 1, "load_duration": 1})

    def _embeddings(self, body: dict[str, Any], fault: Fault | None) -> None:
        rows = self._rows([body["prompt"]])
        spoiled = _SPOILED[fault](rows) if fault else rows
        self._json(200, {"embedding": spoiled[0] if spoiled else []})

    def _rows(self, texts: list[str]) -> list[list[float]]:
        return self._double.vectors(texts)

    @property
    def _double(self) -> OllamaDouble:
        return self.server.double

    def _record(self, body: dict[str, Any]) -> None:
        request = Request(method=self.command, path=self.path, headers=dict(self.headers), body=body)
        self._double.requests.append(request)

    def _no_route(self) -> None:
        self._send(404, b"404 page not found", "text/plain")

    def _json(self, status: int, content: object) -> None:
        self._send(status, json.dumps(content).encode(), "application/json; charset=utf-8")

    def _send(self, status: int, content: bytes, kind: str, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
