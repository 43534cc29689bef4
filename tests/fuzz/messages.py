"""JSON-RPC messages that are nearly right, and bytes that are nearly messages, from a seed."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import attrs

METHODS = (
    "initialize",
    "ping",
    "tools/list",
    "tools/call",
    "tools/call",
    "tools/call",
    "resources/list",
    "resources/read",
    "resources/templates/list",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "logging/setLevel",
    "roots/list",
    "sampling/createMessage",
    "server/discover",
    "subscriptions/listen",
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "rpc.discover",
    "tools/call\0",
    "TOOLS/CALL",
    "",
    "x" * 10_000,
)

TOOLS = (
    "create_memory",
    "create_memories",
    "search_memories",
    "get_memory",
    "list_memories",
    "update_memory",
    "delete_memory",
    "share_memory",
    "get_memory_stats",
    "health_check",
    "get_system_stats",
    "nonsense",
)

ARGUMENTS = (
    "content",
    "query",
    "memory_id",
    "tags",
    "limit",
    "metadata",
    "agent_id",
    "namespace",
    "cursor",
    "access_level",
)

VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28", "1999-01-01", "", "latest")

VERSION_KEY = "io.modelcontextprotocol/protocolVersion"


def nested(depth: int, leaf: object = 1) -> Any:
    """Return an object in an object in an object."""
    value: Any = leaf
    for _ in range(depth):
        value = {"a": value}
    return value


ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    -0.0,
    2**53 + 1,
    2**63,
    2**64,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "",
    " ",
    "\0",
    "1",
    "\ud800",
    "\u202e\u0000\uffff",
    "\uff17",
    "'; DROP TABLE memory; --",
    "../../etc/passwd",
    "%s%n{0}${jndi:x}",
    "*",
    '"',
    "x" * 70_000,
    [],
    {},
    [[]],
    [None] * 100,
    ["x"] * 2000,
    nested(50),
    nested(900),
)


@attrs.frozen
class Messages:
    """Makes what is sent; `memories` are ids of which the sender may have heard."""

    random: random.Random
    memories: Sequence[str]

    def frame(self) -> bytes:
        """Return bytes that are a message, or would like to be one."""
        text = json.dumps(self._envelope(), ensure_ascii=self.random.random() < 0.9).encode("utf-8", "surrogatepass")
        for _ in range(self.random.choice((0, 0, 0, 1, 1, 2))):
            text = self.random.choice(_SPOILING)(self.random, text)
        return text

    def _envelope(self) -> Any:
        message = {"jsonrpc": "2.0", "id": self._id(), "method": self._pick(METHODS)}
        message["params"] = self._params(str(message["method"]))
        chance = self.random.random()
        if chance < 0.3:
            message[self._pick(tuple(message))] = self._pick(ODD)
        elif chance < 0.45:
            del message[self._pick(tuple(message))]
        elif chance < 0.5:
            message[self._pick(("result", "error", "extra", "Method", "jsonrpc"))] = self._pick(ODD)
        elif chance < 0.55:
            return self._pick(([message] * 3, [], [message, 1], message["params"], None, "text", 7))
        return message

    def _id(self) -> Any:
        return self._pick((self.random.randrange(50), str(self.random.randrange(50)), self.random.randrange(10**9)))

    def _params(self, method: str) -> Any:
        if self.random.random() < 0.1:
            return self._pick(ODD)
        params: dict[str, Any] = {}
        if method == "tools/call":
            params = {"name": self._pick(TOOLS), "arguments": self._arguments()}
        elif method == "initialize":
            client = {"name": "fuzz", "version": "1"}
            params = {"protocolVersion": self._pick(VERSIONS), "capabilities": {}, "clientInfo": client}
        elif method == "resources/read":
            params = {"uri": self._pick(("memory://", "tmws://memory/", "file:///")) + self._pick(self.memories)}
        elif method == "notifications/cancelled":
            params = {"requestId": self._id(), "reason": self._pick(ODD)}
        if params and self.random.random() < 0.3:
            params[self._pick(tuple(params))] = self._pick(ODD)
        if self.random.random() < 0.2:
            odd = self.random.random() < 0.3
            params["_meta"] = (
                self._pick(ODD) if odd else {VERSION_KEY: self._pick(VERSIONS), "progressToken": self._id()}
            )
        return params

    def _arguments(self) -> Any:
        arguments: dict[str, Any] = {}
        for name in self.random.sample(ARGUMENTS, self.random.randrange(4)):
            arguments[name] = self._pick(ODD)
        if self.random.random() < 0.5:
            arguments["memory_id"] = self._pick(self.memories)
        if self.random.random() < 0.5:
            arguments.update(content="an ordinary text", query="ordinary")
        return arguments

    def _pick(self, choices: Sequence[Any]) -> Any:
        return self.random.choice(choices)


def _truncated(chance: random.Random, text: bytes) -> bytes:
    return text[: chance.randrange(len(text) + 1)]


def _flipped(chance: random.Random, text: bytes) -> bytes:
    spoilt = bytearray(text)
    for _ in range(chance.randrange(1, 8)):
        if spoilt:
            spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
    return bytes(spoilt)


def _interleaved(chance: random.Random, text: bytes) -> bytes:
    middle = chance.randrange(len(text) + 1)
    return text[:middle] + text + text[middle:]


def _twice(_: random.Random, text: bytes) -> bytes:
    return text.replace(b'{"jsonrpc"', b'{"id": 1, "method": "ping", "jsonrpc": "2.0", "jsonrpc"', 1)


def _broken(chance: random.Random, text: bytes) -> bytes:
    middle = chance.randrange(len(text) + 1)
    return (
        text[:middle]
        + chance.choice((b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xaf", b"\0", b"\xef\xbb\xbf"))
        + text[middle:]
    )


def _deep(chance: random.Random, text: bytes) -> bytes:
    return chance.choice((b"[", b'{"a":')) * chance.choice((10, 1000, 100_000)) + text


def _huge(chance: random.Random, text: bytes) -> bytes:
    return text.replace(b'"params"', b'"padding": "' + b"x" * chance.choice((100_000, 3_000_000)) + b'", "params"', 1)


def _spaced(chance: random.Random, text: bytes) -> bytes:
    return chance.choice((b" ", b"\t", b"\r")) * chance.choice((1, 10_000)) + text + b"\r"


_SPOILING: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _truncated,
    _flipped,
    _interleaved,
    _twice,
    _broken,
    _deep,
    _huge,
    _spaced,
)
