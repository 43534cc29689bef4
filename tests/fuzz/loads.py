"""What takes a server the longest, at the limits of each field, head and line."""

import base64
import json
import random
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import attrs

from tests.pathological import texts
from tests.shells.serving import request
from tmws_core.domain.memory import CONTENT_BYTES
from tmws_core.schema import JsonSchema
from tmws_mcp.bodies import BODY_BYTES
from tmws_mcp.protocol import HEAD_BYTES, TARGET_BYTES

TEXTS = texts(CONTENT_BYTES)

PIECES = ["[]", "{}", '"a"', "1", "null", '{"a":1}', "[[]]", '"\\u0301"', "1e9"]
"""Of which there may be millions in one body."""

JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}

MODERN = {"mcp-protocol-version": "2026-07-28", "mcp-method": "ping"}

PING = request(1, "ping")


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
        return name, body_of(self._arguments(self.operations[name], self.chance.choice(list(TEXTS.values()))))

    def _batch(self) -> tuple[str, bytes]:
        """Store as much as one body may hold."""
        size, room = self.chance.choice(((8_000, 2**17), (CONTENT_BYTES, 2**19), (1000, 2**15)))
        kinds = self.chance.sample(list(TEXTS.values()), self.chance.choice((1, 4)))
        memories: list[dict[str, str]] = []
        while room > 0 and len(memories) < 1000:
            text = f"{cut(kinds[len(memories) % len(kinds)], size - 20)} {self.chance.random():.12f}"
            room -= len(body_of({"content": text})) + 20
            memories.append({"content": text})
        return "create_memories", body_of({"memories": memories[:-1]})

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
            return name, body_of({self.chance.choice(list(TEXTS.values())) * 60: 1})
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
                return {f"{number}{cut(text, 4)}": [[], {}] for number in range(1000)}
            case {"type": "string"}:
                is_id = "[0-9a-f]{8}-" in field.get("pattern", "")
                return self.memory_id if is_id else cut(text, field.get("maxLength", CONTENT_BYTES))
        return field.get("maximum", True)


def body_of(arguments: dict[str, Any]) -> bytes:
    return json.dumps(arguments, ensure_ascii=False).encode()


def cut(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")


def heads(key: str) -> Iterator[tuple[str, bytes, list[bytes]]]:
    """Yield what is endless of a head, its target, and its headers as lines."""
    usual = {**JSON, "host": "127.0.0.1", "authorization": f"Bearer {key}"}
    names = [
        "origin",
        "cookie",
        "x-forwarded-for",
        "forwarded",
        "mcp-session-id",
        "mcp-protocol-version",
        "x-request-id",
    ]
    for kind, text in TEXTS.items():
        line = text.replace("\n", " ").encode()[: HEAD_BYTES - 1000]
        target = quote(line[: TARGET_BYTES // 3 - 100])
        yield f"path of {kind}", f"/mcp/{target}".encode(), lines_of(usual)
        yield f"query of {kind}", f"/mcp?{target}={target}".encode(), lines_of(usual)
        for name in [*usual, *names]:
            yield f"{name} of {kind}", b"/mcp", [*lines_of(usual, name), f"{name}: ".encode() + line]
        for name in MODERN:
            yield f"{name} of {kind}", b"/mcp", [*lines_of({**usual, **MODERN}, name), f"{name}: ".encode() + line]
        yield (
            f"names of {kind}",
            b"/mcp",
            [*lines_of(usual), line.replace(b":", b"").replace(b" ", b"")[:60000] + b": 1"],
        )
    for name in [*usual, *names]:
        many = [f"{name}: 1,".encode()] * (HEAD_BYTES // (len(name) + 8))
        yield f"many of {name}", b"/mcp", [*lines_of(usual, name), *many]


def bearers() -> Iterator[tuple[str, bytes]]:
    """Yield credentials that are endless, alone and as what tokens and keys are made of."""
    room = HEAD_BYTES - 1000
    for kind, text in TEXTS.items():
        line = text.replace("\n", " ").encode()
        part = base64.urlsafe_b64encode(
            body_of({"alg": "HS256", "kid": cut(text, room // 4), "sub": cut(text, room // 4)})
        )
        yield f"text of {kind}", line[:room]
        yield f"parts of {kind}", b".".join([line[: room // 3]] * 3)
        yield f"token of {kind}", b".".join([part[: room // 2], part[: room // 3], b"a"])
    for piece in (b"a.", b".", b"=", b"_", b"tmws_", base64.urlsafe_b64encode(b"[" * (room // 2)), b"Bearer "):
        yield f"endless {piece[:10]!r}", piece * (room // len(piece))
        yield f"token of endless {piece[:10]!r}", b"eyJhbGciOiJIUzI1NiJ9." + piece * (room // len(piece) - 20) + b".a"


def lines_of(headers: Mapping[str, str], without: str = "") -> list[bytes]:
    return [f"{name}: {value}".encode() for name, value in headers.items() if name != without]


def introductions() -> Iterator[tuple[str, bytes]]:
    """Yield introductions and other messages with something endless in them; lines without their end."""
    usual: dict[str, Any] = {"protocolVersion": "2025-06-18", "clientInfo": {"name": "a", "version": "1"}}
    for kind, text in TEXTS.items():
        long = cut(text, CONTENT_BYTES - 1000)
        variants: tuple[dict[str, Any], ...] = (
            {"protocolVersion": long},
            {"clientInfo": {"name": long, "version": long[:10]}},
            {"capabilities": {"experimental": {long[:1000]: {}}}},
            {"_meta": {"progressToken": long}},
        )
        for params in variants:
            line = request(1, "initialize", **{**usual, "capabilities": {}, **params})
            yield f"{[*params]} of {kind}", line.rstrip(b"\n")
        yield f"method of {kind}", request(1, long).rstrip(b"\n")
        yield f"id of {kind}", request(long[:1024], "ping").rstrip(b"\n")
        yield f"tool of {kind}", request(1, "tools/call", name=long, arguments={}).rstrip(b"\n")
    room = BODY_BYTES - 1000
    for piece in PIECES:
        many = ",".join([piece] * (room // (len(piece) + 1)))
        yield f"endless {piece}", f'{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"a":[{many}]}}}}'.encode()
    for piece in ("[", '{"a":', "1", '"', "\\u0301", " "):
        yield f"a line of {piece}", (piece * (room // len(piece))).encode()
