"""What goes past the SDK of a call over MCP and of its answer: what is large, and arguments that are no object.

The SDK copies, checks and writes every value several times on the event loop: 200 ms for a list of 6 MB (measured). It
refuses other arguments than an object without saying why.
"""

import re
import secrets
from collections.abc import Mapping
from typing import Any

import attrs
from mcp_types.jsonrpc import JSONRPCRequest
from starlette.types import Message, Send

from tmws_core.wire import outweighs
from tmws_mcp.answers import LIGHT, written_and_told
from tmws_mcp.readable import readable


@attrs.define
class Bulk:
    """The arguments of one request that are missing in it, and its large answer, for which a mark stands."""

    arguments: object = None
    _mark: str = ""
    _answer: tuple[bytes, bytes] = (b"", b"")

    @classmethod
    def taken_from(cls, message: object) -> "Bulk":
        """Take the arguments out of a call, if they are large or no object."""
        if not isinstance(message, JSONRPCRequest) or message.method != "tools/call" or not message.params:
            return cls()
        arguments = message.params.get("arguments")
        if arguments is None or (isinstance(arguments, dict) and not outweighs(arguments, LIGHT)):
            return cls()
        message.params = {**message.params, "arguments": {}}
        return cls(arguments)

    def whole(self, params: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """Return the parameters of the request with all that belongs to them."""
        return params if self.arguments is None else {**(params or {}), "arguments": self.arguments}

    async def carry(self, answer: dict[str, Any], none: str | None = None) -> tuple[str, dict[str, Any]]:
        """Return the text and the value of an answer, or what stands for them in the message if it is large.

        `none` is what the text says where nothing was found.
        """
        if not outweighs(answer, LIGHT):
            return readable(answer, none), answer
        self._answer = await written_and_told(answer)
        self._mark = secrets.token_hex(16)  # nothing that was stored can hold it
        return self._mark, {self._mark: 0}

    def filled(self, message: bytes) -> bytes:
        """Return a message, as compact JSON, with the answer where its mark stands."""
        if not self._mark:
            return message
        value, text = self._answer
        mark = self._mark.encode()
        parts = re.split(rb'(\{"%b":0\}|"%b")' % (mark, mark), message)
        parts[1::2] = [value if part.startswith(b"{") else text for part in parts[1::2]]
        return b"".join(parts)

    def filling(self, send: Send) -> Send:
        """Return what sends a response of one piece with the answer in it."""
        start: list[Message] = []

        async def fill(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.append(message)
                return
            body = self.filled(message.get("body", b""))
            own = (b"content-length", str(len(body)).encode())
            for head in start:
                kept = [(name, value) for name, value in head["headers"] if name.lower() != own[0]]
                await send({**head, "headers": [*kept, own]})
            start.clear()
            await send({**message, "body": body})

        return fill


def bulk_of(request: object) -> Bulk:
    """Return what is large of the request that the SDK shows: one of HTTP, or of a wire of lines."""
    if isinstance(request, Bulk):
        return request
    found = getattr(getattr(request, "state", None), "bulk", None)
    return found if isinstance(found, Bulk) else Bulk()
