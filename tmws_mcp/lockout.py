"""Addresses that send wrong credentials again and again have to wait, longer each time."""

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


@attrs.define
class _Failures:
    count: int = 0
    until: float = 0.0


@attrs.define(eq=False)
class Lockout:
    """Counts wrong credentials by address, in memory, on a clock that nobody sets.

    A credential is looked at first, and counted when it has turned out to be wrong: a good one is never refused,
    whoever shares its address, and whatever was tried in its name. What the wait keeps back is what is wrong with a
    wrong one. Looking at it costs one question to the store or one signature, as any request does.
    """

    _clock: Clock
    _failures: OrderedDict[str, _Failures] = attrs.field(factory=OrderedDict, init=False)

    def failed(self, address: str) -> None:
        """Count a wrong credential; LockedOut, without counting it, while the address has to wait."""
        now = self._clock.monotonic()
        failures = self._failures.setdefault(address, _Failures())
        if now < failures.until:
            raise LockedOut(limit="wrong credentials came from this address", retry_after=failures.until - now)
        if now > failures.until + QUIET_SECONDS:
            failures.count = 0
        failures.count += 1
        beyond = failures.count - FAILURES
        failures.until = now + (min(FIRST_SECONDS * 2 ** min(beyond, 30), LONGEST_SECONDS) if beyond >= 0 else 0.0)
        self._failures.move_to_end(address)
        if len(self._failures) > ADDRESSES:
            self._failures.popitem(last=False)
