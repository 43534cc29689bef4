"""One HTTP connection, and what its peer may make it hold: time, memory, and a place among the connections."""

import asyncio
import resource
from collections.abc import Container, Mapping
from contextlib import ExitStack
from http import HTTPStatus
from typing import Any

import httptools
import orjson
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tmws_mcp.bodies import BODY_BYTES
from tmws_mcp.failure import described, new_request_id
from tmws_mcp.hardening import HEADERS
from tmws_mcp.limiting import network_of
from tmws_mcp.sharing import UNTIL_READ

HEAD_BYTES = 64 * 1024
"""The longest request line and headers: eight times what other servers read, since tokens may have 8 KiB."""

TARGET_BYTES = 8 * 1024
"""The longest path and query: what nginx reads; ours have 200 bytes."""

HEAD_SECONDS = 10.0
"""How long a request line and its headers may take to arrive, from the first byte or the connection on."""

IDLE_SECONDS = 75
"""How long a connection is kept for the next request: longer than clients keep theirs (httpx 5 s, proxies 60 s), since
a request that is sent while the server hangs up is lost."""

STALL_SECONDS = 30.0
"""How long a peer may take to read STALL_BYTES of an answer, or less if there is less."""

STALL_BYTES = 64 * 1024
"""What a line of 2 KiB a second carries in that time: slower than any that is in use."""

LINGER_SECONDS = 2.0
"""How long a peer that was refused may go on sending: closing a connection on unread bytes can lose the answer."""

_MESSAGE_BYTES = 2 * BODY_BYTES
"""The most bytes of one request on the wire: chunks of a few bytes and trailers are larger than what they carry."""

_HEAD_WIRE_BYTES = 2 * HEAD_BYTES
"""The most bytes of one head on the wire, which the parser holds back until a header has ended; what blanks add counts
here only."""

_CONNECTIONS = 4096
"""The most connections, where this process may open as many files: about 200 MB (measured, idle ones)."""

_ENCODED_SEPARATORS = (b"%2f", b"%5c")
"""What some servers, and rules of proxies, take for a part of a name, and others for a slash or a backslash."""

_CODINGS: Mapping[str, frozenset[bytes]] = {"1.0": frozenset(), "1.1": frozenset({b"chunked"})}
"""The versions of HTTP that are spoken, each with the transfer codings that are undone: HTTP/1.0 has none (RFC 9112,
section 6.1)."""

_REFUSALS: Mapping[HTTPStatus, tuple[str, str]] = {
    HTTPStatus.BAD_REQUEST: ("malformed_request", "All servers have to read a request alike as HTTP/1.1"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("request_too_large", f"A request has at most {_MESSAGE_BYTES} bytes"),
    HTTPStatus.REQUEST_URI_TOO_LONG: ("malformed_request", f"A path and its query have at most {TARGET_BYTES} bytes"),
    HTTPStatus.REQUEST_TIMEOUT: ("timeout", f"The headers did not arrive within {HEAD_SECONDS:g} seconds"),
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: ("malformed_request", f"Headers have at most {HEAD_BYTES} bytes"),
    HTTPStatus.SERVICE_UNAVAILABLE: ("overloaded", "The server has as many connections as it can hold"),
}


def connection_limit() -> int:
    """Return how many connections may be open: half of the files that the process may open, or _CONNECTIONS."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _CONNECTIONS if files == resource.RLIM_INFINITY else min(_CONNECTIONS, files // 2)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds; it refuses in the words of all other refusals."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._proxies: Container[str] = getattr(self.app, "trusted_hosts", ())
        self._application = self.app
        self.app = self._when_read
        self.network = ""
        self._deadline: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._in_head = True
        self._receiving = False
        self._refused = False
        self._status = HTTPStatus.BAD_REQUEST
        self._head = 0
        self._wire = 0

    # What the transport calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Give the connection a place, and its first headers some time."""
        super().connection_made(transport)
        self.network = network_of(self.client)
        if self._is_crowded():
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            self._expect(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        self._expect(None)
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Read some bytes, and refuse a request that has too many of them."""
        if not self._is_open():
            return
        self._wire += len(data)
        self._unset_keepalive_if_required()
        try:
            self._parse(memoryview(data))
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("")
        if not self._is_open():
            return
        if self._in_head and self._wire > _HEAD_WIRE_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._wire > _MESSAGE_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif self._deadline is None and self._in_head and self._is_idle():
            self._expect(HEAD_SECONDS)

    def pause_writing(self) -> None:
        """Wait for the peer to read, for a while."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Go on writing: the peer has read."""
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin to count."""
        super().on_message_begin()
        self._in_head = self._receiving = True
        self._head = self._wire = 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target; whether it is too long is told by the whole head, however that arrives."""
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers, which come after the body, are nobody's headers."""
        if self._in_head:
            self._count(name, value, b": \r\n")
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        if self._is_offer():
            return
        if len(self.url) > TARGET_BYTES:
            self._stop(HTTPStatus.REQUEST_URI_TOO_LONG)
        version = self.parser.get_http_version()
        self._check_target(version)
        self._check_framing(version)
        super().on_headers_complete()
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False  # CONNECT: what follows is of another protocol
        self._in_head = False
        self._expect(None)

    def on_message_complete(self) -> None:
        """Be ready for the next request."""
        if self._is_offer():
            return
        self._receiving = False
        self._in_head = True
        self._wire = 0
        self._expect(None)
        super().on_message_complete()

    # What uvicorn calls.

    def on_response_complete(self) -> None:
        """Keep the connection for the next request; the rest of one that was answered early may follow for a while."""
        super().on_response_complete()
        if self._receiving and not self._in_head and self.cycle.response_complete:
            self._expect(LINGER_SECONDS)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, even if the peer never reads the last answer."""
        super().timeout_keep_alive_handler()
        self._expect(STALL_SECONDS)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the peer gets our words
        """Refuse what the parser did not understand, or what was too much."""
        self._refuse(self._status)

    def _parse(self, data: memoryview) -> None:
        """Parse some bytes, and a head that offers another protocol once more, without its offer.

        The parser takes what follows such a head for that protocol, while it is the body and the next requests for a
        server that goes on in HTTP/1.1 (RFC 9110, section 7.8).
        """
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as ended:
                if not self._is_offer():
                    return
                head, data = self._head_without_offer(), data[ended.args[0] :]
                self.parser = httptools.HttpRequestParser(self)  # after `Connection: close` the former reads no more
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
                self.parser.feed_data(head)
            else:
                return

    def _is_offer(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _head_without_offer(self) -> bytes:
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        kept = (b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade")
        return b"".join((line, *kept, b"\r\n"))

    async def _when_read(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request once the peer has read what it was answered before, and end what lasts until it is read."""
        await self.flow.drain()
        if self._is_proxy():
            scope["headers"] = _forwarded(scope["headers"])
        with ExitStack() as until_read:
            scope["state"][UNTIL_READ] = until_read
            await self._application(scope, receive, send)
            await self.flow.drain()

    def _is_proxy(self) -> bool:
        return self.client is not None and self.client[0] in self._proxies

    def _check_target(self, version: str) -> None:
        """Refuse what names no one resource: a path of two readings, a fragment, several hosts, none in HTTP/1.1."""
        path = self.url.partition(b"?")[0].lower()
        hosts = sum(name == b"host" for name, _ in self.headers)  # of two, who checks one may not be who uses it
        if b"#" in self.url or any(separator in path for separator in _ENCODED_SEPARATORS):
            self._stop(HTTPStatus.BAD_REQUEST)
        if hosts > 1 or (hosts < 1 and version != "1.0"):
            self._stop(HTTPStatus.BAD_REQUEST)

    def _check_framing(self, version: str) -> None:
        codings = {value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"}
        if version not in _CODINGS or codings - _CODINGS[version]:
            self._stop(HTTPStatus.BAD_REQUEST)

    def _count(self, *parts: bytes) -> None:
        self._head += sum(map(len, parts))
        if self._head > HEAD_BYTES:
            self._stop(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _stop(self, status: HTTPStatus) -> None:
        """Have the parser stop: it raises what a callback raises as an error of its own."""
        self._status = status
        raise httptools.HttpParserError

    def _expect(self, seconds: float | None) -> None:
        """Set the time by which the peer has to have done what is next, or None where nothing is expected of it."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._late)

    def _watch(self) -> None:
        """Look in a while whether the peer has read enough."""
        unread = self.transport.get_write_buffer_size()
        self._stall = self.loop.call_later(STALL_SECONDS, self._look, unread)

    def _look(self, unread: int) -> None:
        if unread - self.transport.get_write_buffer_size() < STALL_BYTES:
            self.transport.abort()
        else:
            self._watch()

    def _is_crowded(self) -> bool:
        """Tell whether there are too many connections, or one peer that is no proxy has half of them."""
        limit = connection_limit()
        if len(self.connections) <= limit // 2:
            return False
        same = sum(getattr(connection, "network", "") == self.network for connection in self.connections)
        return len(self.connections) > limit or (same > limit // 2 and not self._is_proxy())

    def _is_open(self) -> bool:
        return not self._refused and not self.transport.is_closing()

    def _is_idle(self) -> bool:
        """Tell whether no request is being answered."""
        return bool(getattr(self.cycle, "response_complete", True))

    def _late(self) -> None:
        if self._in_head and self._receiving and not self._refused:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.transport.abort()

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer what is no request, and read on without listening until the peer has hung up."""
        self._refused = True
        self._unset_keepalive_if_required()
        if not self._is_idle() and (self._in_head or self.pipeline or self.cycle.response_started):
            self.cycle.keep_alive = False  # the connection ends after the answer that is being made
            return
        if self._in_head:
            self.transport.write(_refusal(status))
        elif not self._is_idle():  # a broken body: whoever reads it is told that there is no more
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.transport.write(_refusal(status))
        self.transport.write_eof()
        self._expect(LINGER_SECONDS)


def _forwarded(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers of a believed proxy, with X-Forwarded-For where it says the same by X-Real-IP alone."""
    names = {name for name, _ in headers}
    if b"x-forwarded-for" in names:
        return headers
    return [*headers, *((b"x-forwarded-for", value) for name, value in headers if name == b"x-real-ip")]


def _refusal(status: HTTPStatus) -> bytes:
    code, message = _REFUSALS[status]
    request_id = new_request_id()
    body = orjson.dumps(described(code, message, request_id=request_id))
    own = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        "x-request-id": request_id,
    }
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        own["retry-after"] = "1"
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in own.items())]
    lines += [f"{name.decode()}: {value.decode()}" for name, value in HEADERS]
    return "\r\n".join([*lines, "", ""]).encode() + body
