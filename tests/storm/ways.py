"""How an agent asks: through a terminal of its own, or over HTTP; each request is answered, or its connection closed.

A way belongs to one thread.
"""

import json
import os
import queue
import random
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import IO, Any, Protocol

import attrs
import httpx

from tests.shells.serving import STDIO, environment, request, tool
from tests.storm.model import SPACES, Model

FIRST_ID = 10**12
"""Ids of what is waited for; nonsense has lower ones, and an id that is in use is refused, as 7 is while "7" runs."""

STUCK = float(os.environ.get("TMWS_STORM_STUCK", "300"))
"""Seconds after which a request, or the end of a process, hangs: on a busy machine a new owner may take 30, and what
was stopped goes on after 12."""

JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}

UNDONE = {
    "invalid_argument",
    "malformed_request",
    "forbidden",
    "agent_not_found",
    "conflict",
    "request_too_large",
    "too_large",
    "too_many_values",
    "quota_exceeded",
    "overloaded",
    "storage_busy",
    "storage_full",
    "storage_interrupted",
}
"""The errors of which docs/reference/errors.md says that nothing was done."""

NEVER = {"internal", "unauthenticated", "agent_inactive", "storage_corrupt", "storage_gone", "model_mismatch"}
"""The errors for which a storm is no reason."""


@attrs.frozen
class Answer:
    """What came of a request: `body` is None where nobody knows, and `begun` false where nothing was asked."""

    began: float
    ended: float
    raw: str = attrs.field(default="", repr=lambda raw: repr(raw[:300]))
    body: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    begun: bool = True

    @property
    def code(self) -> str | None:
        return None if self.body is None or self.body.get("success") else self.body["error"]["code"]

    @property
    def done(self) -> bool | None:
        """Tell whether a change was made, None where nobody knows."""
        if not self.begun:
            return False
        if self.body is None:
            return None
        if self.body.get("success"):
            return True
        return False if self.code in UNDONE | {"not_found"} else None


class Way(Protocol):
    """Asks in the name of an agent."""

    agent: str

    def ask(self, name: str, arguments: Mapping[str, Any], patience: float | None) -> Answer:
        """Call an operation; with a `patience`, in seconds, the request is cancelled after it."""
        ...

    def babble(self, frame: bytes) -> str:
        """Send bytes that are nearly a message, and return what was answered, if anything was."""
        ...

    def close(self) -> None: ...


def body_of(message: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what a tool answered, in either form."""
    if "result" in message:
        found: Mapping[str, Any] | None = message["result"].get("structuredContent")
        return found
    return {"success": False, "error": {"code": "unavailable", **(message["error"].get("data") or {})}}


@attrs.define
class Terminal:
    """An agent terminal: a process on its own pipes, which is started again when it has died."""

    agent: str
    home: Path
    settings: Mapping[str, str]
    model: Model
    chance: random.Random
    log: IO[bytes]
    process: "subprocess.Popen[bytes] | None" = None
    _listener: threading.Thread | None = None
    _said: "queue.Queue[bytes]" = attrs.Factory(queue.Queue)
    _ids: "count[int]" = attrs.Factory(lambda: count(FIRST_ID))

    def ask(self, name: str, arguments: Mapping[str, Any], patience: float | None) -> Answer:
        id_ = next(self._ids)
        began = time.monotonic()
        if not self._send(tool(id_, name, **arguments)):
            return Answer(began, time.monotonic())
        line = self._receive(id_, STUCK if patience is None else patience, name)
        if line is None and patience is not None:
            self._send(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}\n' % id_)
            self.model.count("cancels")
        return self._answer(began, line, name)

    def babble(self, frame: bytes) -> str:
        if not self._send(frame.replace(b"\n", b" ") + b"\n"):
            return ""
        id_ = next(self._ids)
        if not self._send(request(id_, "ping")):
            return ""
        return (self._receive(id_, STUCK, "ping") or b"").decode()

    def close(self) -> None:
        """End the input, by which a terminal ends."""
        if self.process is None:
            return
        assert self.process.stdin
        with suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(STUCK)
        except subprocess.TimeoutExpired:
            self.model.violate("stuck", f"the terminal of {self.agent} does not end")
            self.process.kill()
            self.process.wait()
        self._forget()

    def _answer(self, began: float, line: bytes | None, name: str) -> Answer:
        ended = time.monotonic()
        if line is None:
            return Answer(began, ended)
        body = body_of(json.loads(line))
        if body is None:
            self.model.violate("torn", f"{name} answered {line!r:.300}")
        return Answer(began, ended, line.decode(), body)

    def _send(self, line: bytes) -> bool:
        """Send a line to a process that lives; false where it has died meanwhile."""
        if self.process is None or self.process.poll() is not None:
            self._start()
        assert self.process is not None
        assert self.process.stdin
        try:
            self.process.stdin.write(line)
            self.process.stdin.flush()
        except OSError:
            return False
        return True

    def _start(self) -> None:
        if self.process is not None:
            self._forget()
            self.model.count("terminals started again")
        names = {"TMWS_AGENT_ID": self.agent, "TMWS_AGENT_NAMESPACE": SPACES[self.agent]}
        self._said = queue.Queue()
        self.process = subprocess.Popen(
            STDIO,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            cwd=self.home,
            env=environment(self.home, **self.settings, **names),
        )
        assert self.process.stdout
        self._listener = threading.Thread(target=_listen, args=(self.process.stdout, self._said), daemon=True)
        self._listener.start()

    def _forget(self) -> None:
        """Close what belongs to a process that has ended."""
        assert self.process is not None
        assert self._listener is not None
        assert self.process.stdin
        assert self.process.stdout
        self.process.wait()
        self._listener.join()
        with suppress(OSError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.process = None

    def _receive(self, id_: int, seconds: float, name: str) -> bytes | None:
        """Return the answer to a request, or None if the process has died, or says nothing for so long."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._said.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                if seconds >= STUCK:
                    self.model.violate("stuck", f"the terminal of {self.agent} does not answer {name}")
                    self._kill()
                return None
            if not line:
                # It has closed its output, and may still need a while to end, in which it would take another request.
                wait_for_end(self.process)
                return None
            if json.loads(line).get("id") == id_:
                return line

    def _kill(self) -> None:
        assert self.process is not None
        self.process.kill()


def wait_for_end(process: "subprocess.Popen[bytes] | None") -> None:
    assert process is not None
    process.wait(STUCK)


def _listen(pipe: IO[bytes], said: "queue.Queue[bytes]") -> None:
    for line in pipe:
        # A process that is killed leaves half a line.
        if line.endswith(b"\n"):
            said.put(line)
    said.put(b"")


@attrs.define
class Web:
    """A client of one or several servers, over REST and MCP; a request is cancelled by closing the connection."""

    agent: str
    urls: Sequence[str]
    key: str
    model: Model
    chance: random.Random
    _client: httpx.Client = attrs.field()
    _ids: "count[int]" = attrs.Factory(lambda: count(FIRST_ID))

    @_client.default
    def _(self) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.key}"}
        return httpx.Client(timeout=STUCK, trust_env=False, headers=headers)

    def ask(self, name: str, arguments: Mapping[str, Any], patience: float | None) -> Answer:
        url = self.chance.choice(self.urls)
        is_rest = self.chance.random() < 0.5
        if is_rest:
            path, body = f"/mcp/tools/{name}", json.dumps(arguments).encode()
        else:
            path, body = "/mcp", tool(next(self._ids), name, **arguments)
        began = time.monotonic()
        response = self._post(f"{url}{path}", body, patience)
        ended = time.monotonic()
        if not isinstance(response, httpx.Response):
            return Answer(began, ended, begun=response)
        return Answer(began, ended, response.text, self._body(response, is_rest=is_rest))

    def babble(self, frame: bytes) -> str:
        response = self._post(f"{self.chance.choice(self.urls)}/mcp", frame, None)
        return response.text if isinstance(response, httpx.Response) else ""

    def close(self) -> None:
        self._client.close()

    def _body(self, response: httpx.Response, *, is_rest: bool) -> Mapping[str, Any] | None:
        try:
            value = response.json()
            return value if is_rest or "jsonrpc" not in value else body_of(value)
        except (ValueError, KeyError, AttributeError):
            self.model.violate("torn", f"{response.status_code} {response.text[:300]}")
            return None

    def _post(self, url: str, body: bytes, patience: float | None) -> httpx.Response | bool:
        """Return the answer, or whether the server may have begun the request."""
        timeout = httpx.Timeout(STUCK, read=STUCK if patience is None else patience)
        try:
            return self._client.post(url, content=body, headers=JSON, timeout=timeout)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if isinstance(error, httpx.ConnectTimeout):
                self.model.violate("stuck", f"{url} takes no connection")
            return False
        except httpx.ReadTimeout:
            if patience is None:
                self.model.violate("stuck", f"{url} does not answer {body!r:.200}")
            else:
                self.model.count("cancels")
            return True
        except httpx.HTTPError:
            return True
