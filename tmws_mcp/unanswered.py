"""What a client has asked and not been answered yet, so that it can be asked again; nothing heavy is imported."""

import json
import time
from collections.abc import Collection

from tmws_core.domain.nothing import says_nothing
from tmws_mcp.ids import BOM, as_id, counted_as, id_in

INVALID_REQUEST = -32600
INTERNAL_ERROR = -32603

REPLAYED = "tmws-introduction"
"""The id under which a client is introduced to another owner."""

_ANSWER = b'{"jsonrpc":"2.0","id":'
_NOTIFICATION = b'{"jsonrpc":"2.0","method":'
_MODERN = "io.modelcontextprotocol/protocolVersion"

_UNKNOWN = (
    "The service ended before it answered, and another one has taken over: the change may be stored or not. "
    "Look whether it is, or repeat it with an idempotency_key"
)

_ASKED = 6
"""How many owners are asked the same: one more than may die soon after one another, see the shim."""

_AGAIN = f"{_ASKED} owners ended before they answered this request. Repeat it, a write with the same idempotency_key"


class Request:
    """One request: its line, when it came, and its number on the present connection, 0 before it is sent.

    `unanswered` counts the owners that ended before they answered it.
    """

    __slots__ = ("_is_modern", "_keyed", "id", "line", "method", "number", "since", "tool", "unanswered")

    def __init__(self, line: bytes, message: dict[str, object]) -> None:
        self.line = line
        self.number = 0
        self.unanswered = 0
        self.since = time.monotonic()
        self.id = message["id"]
        self.method = message.get("method")
        params = _object(message.get("params"))
        name = params.get("name")
        self.tool = name if self.method == "tools/call" and isinstance(name, str) else None
        self._keyed = _is_keyed(self.tool, _object(params.get("arguments")))
        self._is_modern = _MODERN in _object(params.get("_meta"))

    def may_be_repeated(self, repeatable: Collection[str]) -> bool:
        """Tell whether it does no harm to do it twice; `repeatable` are the tools of which that is true."""
        return self.tool is None or self.tool in repeatable or self._keyed

    def outlived(self) -> bytes | None:
        """Count an owner that has ended; return the answer that says that no other one is asked, if so many have."""
        self.unanswered += 1
        if self.unanswered < _ASKED:
            return None
        return self.failed({"code": "unavailable", "message": _AGAIN, "kind": "unavailable"})

    def unknown(self) -> bytes:
        """Return the answer that says that nobody knows what became of it."""
        body = {"success": False, "error": {"code": "outcome_unknown", "message": _UNKNOWN}}
        text = {"type": "text", "text": json.dumps(body)}
        result = {"content": [text], "structuredContent": body, "isError": True}
        modern = {"resultType": "complete"} if self._is_modern else {}
        return _line({"jsonrpc": "2.0", "id": self.id, "result": {**result, **modern}})

    def failed(self, error: dict[str, object]) -> bytes:
        """Return the answer that says that there is nobody to answer, and why."""
        said = {"code": INTERNAL_ERROR, "message": error.get("message"), "data": error}
        return _line({"jsonrpc": "2.0", "id": self.id, "error": said})


_UNBEGUN = "Nothing of this request was begun"
_UNTOLD = "Whether this request was done, nobody knows: look, or repeat it with an idempotency_key"


class Unanswered:
    """The requests without an answer, by id, and the introduction; "7" and 7 count as one, as they do for the owner."""

    __slots__ = ("_initialize", "_initialized", "requests")

    def __init__(self) -> None:
        self.requests: dict[str | int | None, Request] = {}
        self._initialize = b""
        self._initialized = b""

    def take(self, line: bytes) -> str | None:
        """Follow a line of the client; return the method where it lacks the id without which it gets no answer."""
        message = _message(line) or _unreadable(line)
        method, request_id = message.get("method"), message.get("id")
        if method == "initialize":
            self._initialize = line
        if method == "notifications/initialized":
            self._initialized = line
        if method == "notifications/cancelled":
            self.requests.pop(counted_as(_object(message.get("params")).get("requestId")), None)
        is_answer = "method" not in message and message.keys() & {"result", "error"}
        if as_id(request_id) is not None and not is_answer:
            self.requests.setdefault(counted_as(request_id), Request(line, message))
        if isinstance(method, str) and "id" not in message and not method.startswith("notifications/"):
            return method
        return None

    def settle(self, line: bytes) -> None:
        """Follow a line of the owner."""
        if not line.startswith(_NOTIFICATION):
            request_id = _id_of(line)
            if request_id is not None:
                self.requests.pop(counted_as(request_id), None)

    def give_up(self, error: dict[str, object], repeatable: Collection[str]) -> list[bytes]:
        """Return answers to all requests that say why there is no other one, and what became of each.

        A client whose introduction is among them has to introduce itself again.
        """
        answers = []
        for request in self.requests.values():
            unknown = request.number and not request.may_be_repeated(repeatable)
            code, end = ("outcome_unknown", _UNTOLD) if unknown else (error.get("code"), _UNBEGUN)
            told = error if request.number and not unknown else {"message": f"{error.get('message')}. {end}"}
            answers.append(request.failed({**error, **told, "code": code}))
            if request.method == "initialize":
                self._initialize = b""
        self.requests.clear()
        return answers

    def introduction(self) -> list[bytes]:
        """Return the lines by which the client is introduced again; none where it was not, or not answered yet."""
        if not self._initialize:
            return []
        message = _message(self._initialize)
        if counted_as(message.get("id")) in self.requests:
            return []
        return [line for line in (_line({**message, "id": REPLAYED}), self._initialized) if line]


def is_introduction(answer: bytes) -> bool:
    """Tell whether a line answers a repeated introduction."""
    return _id_of(answer) == REPLAYED


def refusal(code: int, message: str, request_id: str | int | None) -> bytes:
    """Return the answer to a line that is no message; its id, where one was found in it."""
    return _line({"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}})


def _is_keyed(tool: str | None, arguments: dict[str, object]) -> bool:
    """Tell whether a call stores under idempotency keys alone: repeated, it answers with the first result."""
    if tool == "create_memory":
        return _is_given(arguments.get("idempotency_key"))
    memories = arguments.get("memories")
    if tool != "create_memories" or not isinstance(memories, list):
        return False
    return all(_is_given(_object(memory).get("idempotency_key")) for memory in memories)


def _is_given(key: object) -> bool:
    return not says_nothing(key) if isinstance(key, str) else bool(key)


def _id_of(answer: bytes) -> object:
    """Return the id of an answer, without reading the rest of it where it looks like the owner's."""
    end = answer.find(b',"', len(_ANSWER))
    if answer.startswith(_ANSWER) and answer.startswith((b',"result"', b',"error"'), end):
        try:
            return json.loads(answer[len(_ANSWER) : end])
        except ValueError:  # an id with a comma and a quotation mark in it
            pass
    message = _message(answer)
    return None if "method" in message else message.get("id")


def _unreadable(line: bytes) -> dict[str, object]:
    """Return the id under which the owner will refuse a line that it does not understand, if there is one."""
    request_id = id_in(line)
    return {} if request_id is None else {"id": request_id}


def _message(line: bytes) -> dict[str, object]:
    """Return the object on a line, empty where the owner will not understand the line."""
    try:
        value = json.loads(line.removeprefix(BOM), parse_constant=_no_constant)
        if b"\\ud" in line.lower():
            json.dumps(value, ensure_ascii=False).encode()  # fails on half a character
    except (ValueError, RecursionError):
        return {}
    return _object(value)


def _no_constant(name: str) -> object:
    raise ValueError(name)


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _line(message: dict[str, object]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"
