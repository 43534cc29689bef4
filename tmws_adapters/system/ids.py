"""Identifiers from the time and from chance."""

import os
import threading
from datetime import UTC, datetime, timedelta

import attrs

from tmws_core.domain.ids import uuid7
from tmws_core.ports.system import Clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

_RANDOM_BITS = 74
"""What a UUIDv7 holds besides its time."""

_STEP_BYTES = 4
"""Size of the random step to the next id of one millisecond, so that nobody can guess it (RFC 9562, section 6.2)."""


@attrs.define(eq=False)
class SystemIds:
    """Ids that rise even when the clock stands still or steps back; safe for any number of threads."""

    _clock: Clock
    _last: int = attrs.field(default=0, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def new(self) -> str:
        """Return a UUIDv7 that sorts after all that this process returned before."""
        milliseconds = (self._clock.now() - _EPOCH) // _MILLISECOND
        chance = int.from_bytes(os.urandom(10)) & ((1 << _RANDOM_BITS) - 1)
        step = 1 + int.from_bytes(os.urandom(_STEP_BYTES))
        with self._lock:
            self._last = max((milliseconds << _RANDOM_BITS) | chance, self._last + step)
            last = self._last
        return uuid7(last >> _RANDOM_BITS, last)
