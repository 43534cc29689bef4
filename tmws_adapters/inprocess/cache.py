"""A cache in memory."""

from collections import OrderedDict

import attrs


@attrs.define(eq=False)
class LruCache:
    """A Cache of at most `capacity` values, which forgets the one that was not used for the longest time."""

    _capacity: int = attrs.field(validator=attrs.validators.ge(1))
    _values: OrderedDict[str, bytes] = attrs.field(factory=OrderedDict, init=False)

    async def get(self, key: str) -> bytes | None:
        """Return what was put under the key, or None."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    async def put(self, key: str, value: bytes) -> None:
        """Remember a value."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._capacity:
            self._values.popitem(last=False)
