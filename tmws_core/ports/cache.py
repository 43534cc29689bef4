"""A cache: what it forgets costs time, never truth."""

from typing import Protocol


class Cache(Protocol):
    """Bytes by key; safe for any number of tasks, and allowed to forget at any time."""

    async def get(self, key: str) -> bytes | None:
        """Return what was put under the key, or None."""
        ...

    async def put(self, key: str, value: bytes) -> None:
        """Remember a value."""
        ...
