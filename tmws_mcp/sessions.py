"""MCP sessions that no server keeps: whoever knows the secret key takes up what another one began."""

import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

import attrs

from tmws_core.ports.cache import Cache

ENDED = 10_000
"""Sessions that a process remembers as ended, 2 MB."""

_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})\.[0-9a-f]{32}\.[0-9a-f]{40}")
"""The version of the protocol, a random number, and the seal of both."""

_SEAL_BYTES = 20

_ENDED = b"ended"


@attrs.frozen
class Sessions:
    """Names sessions so that the name holds all that there is to know, and is good for one agent only.

    `keys` are those that names may be sealed with, the current one first. A session ends when its client says so, or
    when its key is good no more. What has ended here is told to other servers by the `cache`, for as long as that keeps
    it; a client that goes on after that would be served, with the rights that its credential has then.
    """

    keys: Callable[[], list[bytes]]
    cache: Cache
    _ended: OrderedDict[str, None] = attrs.field(factory=OrderedDict, init=False)

    def begin(self, agent_id: str, version: str) -> str:
        """Return the name of a new session, which speaks a version of the protocol."""
        told = f"{version}.{secrets.token_hex(16)}"
        return f"{told}.{_seal(self.keys()[0], agent_id, told)}"

    async def version(self, name: str, agent_id: str) -> str | None:
        """Return the version that a session of an agent speaks, or None if there is no such session."""
        form = _NAME.fullmatch(name)
        if form is None or name in self._ended:
            return None
        told, _, seal = name.rpartition(".")
        if not any(hmac.compare_digest(seal, _seal(key, agent_id, told)) for key in self.keys()):
            return None
        return None if await self.cache.get(_shared(name)) == _ENDED else form[1]

    async def end(self, name: str) -> None:
        """Let a session be unknown from now on."""
        self._ended[name] = None
        if len(self._ended) > ENDED:
            self._ended.popitem(last=False)
        await self.cache.put(_shared(name), _ENDED)


def _seal(key: bytes, agent_id: str, told: str) -> str:
    return blake2b(f"{told} {agent_id}".encode(), key=key, digest_size=_SEAL_BYTES).hexdigest()


def _shared(name: str) -> str:
    return f"mcp session {name}"
