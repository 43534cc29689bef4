"""The licence of a running service: which one is in force, and whether a server may start with it."""

from collections.abc import Callable
from datetime import datetime, timedelta

import anyio
import attrs

from tmws_core.domain.audit import AuditEvent, Detail
from tmws_core.domain.license import FREE, License
from tmws_core.domain.license_key import KEY_SETTING, LicenseKey, expired
from tmws_core.errors import LicenseInvalid, StorageUnavailable
from tmws_core.ports.license import LicenseClock
from tmws_core.ports.storage import Storage
from tmws_core.ports.system import Clock

INTERVAL = timedelta(hours=1)
"""Between two notes of the time: what setting the clock back can win at most."""


@attrs.define(kw_only=True)
class Licensing:
    """A LicenseSource: the licence of a key at the latest time that anybody has seen.

    Without a key `keyless` is in force, and FREE with one that does not hold: then `problem` says why.
    """

    key: LicenseKey | None = None
    problem: LicenseInvalid | None = None
    keyless: License = FREE
    storage: Storage
    seen: LicenseClock
    clock: Clock
    _latest: datetime | None = attrs.field(default=None, init=False)
    _recalled: bool = attrs.field(default=False, init=False)

    async def current(self) -> License:
        """Return the licence in force now; while the store is out of reach, what it has seen is not known."""
        if self.key is None:
            return self.keyless if self.problem is None else FREE
        if self.key.expires is not None and not self._recalled:
            await self._recall()
        return self.key.at(self._advance(self.clock.now()))

    async def begin(self, *, required: bool, strict: bool, recorded_as: str | None) -> License:
        """Return the licence that a server starts with, and keep a record of it: the time, and an audit event.

        A store that cannot be written keeps neither, and that does not stop the server. `recorded_as` is the agent of
        the event; without one there is none.

        Raises:
            LicenseInvalid: the key does not hold; there is none, and it is `required`; or its grace has ended, and
                `strict` is set.
        """
        await self.note()
        license_ = await self.current()
        refusal = await self.refusal(required=required, strict=strict)
        if recorded_as is not None and (self.key is not None or refusal is not None):
            await self._record(recorded_as, license_, refusal)
        if refusal is not None:
            raise refusal
        return license_

    async def refusal(self, *, required: bool, strict: bool) -> LicenseInvalid | None:
        """Return why a server may not start with this licence, or None."""
        if self.problem is not None:
            return self.problem
        if self.key is None:
            return _missing() if required else None
        license_ = await self.current()
        return expired(license_) if strict and license_.status == "expired" else None

    async def run(self, changed: Callable[[License], None]) -> None:
        """Note the time every INTERVAL, and tell when the licence has got another status."""
        former = (await self.current()).status
        while True:
            await anyio.sleep(INTERVAL.total_seconds())
            await self.note()
            license_ = await self.current()
            if license_.status != former:
                former = license_.status
                changed(license_)

    async def note(self) -> None:
        """Remember the time, if there is a licence that ends."""
        if self.key is None or self.key.expires is None:
            return
        try:
            self._advance(await self.seen.note(self._advance(self.clock.now())))
            self._recalled = True
        except StorageUnavailable:
            pass

    async def _recall(self) -> None:
        try:
            seen = await self.seen.last_seen()
        except StorageUnavailable:
            return
        self._recalled = True
        if seen is not None:
            self._advance(seen)

    def _advance(self, moment: datetime) -> datetime:
        """Return the latest time that was seen, this one included."""
        self._latest = moment if self._latest is None else max(moment, self._latest)
        return self._latest

    async def _record(self, agent_id: str, license_: License, refusal: LicenseInvalid | None) -> None:
        details: dict[str, Detail] = {"tier": license_.tier.value, "status": license_.status}
        if refusal is not None:
            details["reason"] = refusal.reason
        event_type = "license.validated" if refusal is None else "license.refused"
        event = AuditEvent(timestamp=self.clock.now(), event_type=event_type, agent_id=agent_id, details=details)
        try:
            async with self.storage.write() as unit:
                await unit.audit([event])
        except StorageUnavailable:
            pass


def _missing() -> LicenseInvalid:
    return LicenseInvalid(
        setting=KEY_SETTING,
        reason="is not set, and a server in production needs a licence",
        hint="Set it to yours, or to a FREE one made with `tmws license issue --tier FREE`",
    )
