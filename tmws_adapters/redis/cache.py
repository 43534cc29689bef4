"""A cache that several servers share."""

from contextlib import suppress
from hashlib import blake2b

import attrs

from tmws_adapters.redis.server import Server
from tmws_core.errors import PartUnavailable
from tmws_core.ports.cache import Cache

SECONDS = 86_400
"""How long a value is kept: what agents ask again they ask on the same day."""

LARGEST = 64 * 1024
"""Bytes of the largest value that is shared: a vector of 4,096 values has 16 KiB."""

_PREFIX = "tmws:cache:"
_DIGEST_BYTES = 20


@attrs.frozen
class RedisCache:
    """A Cache for values that never change under their keys: what `local` knows, Redis is not asked for.

    Redis sees a digest of the key only. While it is down the servers forget one another's values, nothing else.
    """

    _server: Server
    _local: Cache

    async def get(self, key: str) -> bytes | None:
        """Return what was put under the key, here or on another server, or None."""
        value = await self._local.get(key)
        if value is None:
            with suppress(PartUnavailable):
                value = await self._server.command("GET", _shared(key))
            if value is not None:
                await self._local.put(key, value)
        return value

    async def put(self, key: str, value: bytes) -> None:
        """Remember a value, for SECONDS on the other servers."""
        await self._local.put(key, value)
        if len(value) <= LARGEST:
            with suppress(PartUnavailable):
                await self._server.command("SET", _shared(key), value, "EX", SECONDS)


def _shared(key: str) -> str:
    return _PREFIX + blake2b(key.encode(), digest_size=_DIGEST_BYTES).hexdigest()
