"""Addresses that send wrong credentials again and again have to wait, longer each time."""

import hashlib
from collections import OrderedDict

import attrs

from tmws_core.errors import LockedOut
from tmws_core.ports.system import Clock

FAILURES = 5
"""Wrong credentials after which an address has to wait: a person who mistypes needs fewer."""

FIRST_SECONDS = 1.0
"""The first wait; each further failure doubles it."""

LONGEST_SECONDS = 300.0
"""The longest wait."""

QUIET_SECONDS = 60.0
"""How long after its last wait an address that sends nothing wrong starts anew."""

ADDRESSES = 10_000
"""Addresses that are remembered, 2 MB; the one that failed longest ago is forgotten first."""

PROVEN = 10_000
"""Credentials that are remembered as good."""


@attrs.define
class _Failures:
    count: int = 0
    until: float = 0.0


@attrs.define(eq=False)
class Lockout:
    """Counts failures by address, in memory, on a clock that nobody sets.

    A credential that was good before is looked at even while its address has to wait, so that nobody who shares an
    address with an agent, such as one behind the same proxy, can lock it out.
    """

    _clock: Clock
    _failures: OrderedDict[str, _Failures] = attrs.field(factory=OrderedDict, init=False)
    _proven: OrderedDict[bytes, None] = attrs.field(factory=OrderedDict, init=False)

    def check(self, address: str, credential: str) -> None:
        """Raise LockedOut if the address has to wait."""
        failures = self._failures.get(address)
        if failures is None or _digest(credential) in self._proven:
            return
        wait = failures.until - self._clock.monotonic()
        if wait > 0:
            raise LockedOut(limit="wrong credentials came from this address", retry_after=wait)

    def failed(self, address: str, credential: str) -> None:
        """Count a wrong credential."""
        self._proven.pop(_digest(credential), None)
        now = self._clock.monotonic()
        failures = self._failures.setdefault(address, _Failures())
        if now > failures.until + QUIET_SECONDS:
            failures.count = 0
        failures.count += 1
        beyond = failures.count - FAILURES
        failures.until = now + (min(FIRST_SECONDS * 2 ** min(beyond, 30), LONGEST_SECONDS) if beyond >= 0 else 0.0)
        self._failures.move_to_end(address)
        if len(self._failures) > ADDRESSES:
            self._failures.popitem(last=False)

    def succeeded(self, credential: str) -> None:
        """Remember a good credential, by its digest."""
        digest = _digest(credential)
        self._proven[digest] = None
        self._proven.move_to_end(digest)
        if len(self._proven) > PROVEN:
            self._proven.popitem(last=False)


def _digest(credential: str) -> bytes:
    return hashlib.sha256(credential.encode("utf-8", "surrogatepass")).digest()
