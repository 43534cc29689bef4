"""An operation in this process, where no owner can be asked, and what it means when one that was asked fails."""

from collections.abc import Mapping
from typing import Any

import anyio

from tmws_adapters.bootstrap import open_app
from tmws_adapters.local.asking import TooLong
from tmws_adapters.local.finding import Link
from tmws_adapters.local.limits import LINE_BYTES
from tmws_adapters.local.patience import GRACE_SECONDS, told_by
from tmws_adapters.remote import OutcomeUnknown
from tmws_adapters.settings import Settings
from tmws_core.errors import RequestTimedOut, RequestTooLarge, TmwsError


def run(settings: Settings, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Run one operation on the database that the settings name; the process has nothing else to do."""
    return anyio.run(_run, settings, name, arguments)


def failure(error: Exception, name: str, link: Link) -> TmwsError:
    """Return what a failure of `ask` means to whoever typed the command."""
    if isinstance(error, TooLong):
        return RequestTooLarge(limit=LINE_BYTES)
    if isinstance(error, TimeoutError):
        return RequestTimedOut(seconds=told_by(link.welcome) + GRACE_SECONDS)
    return OutcomeUnknown(operation=name)


async def _run(settings: Settings, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    async with open_app(settings, any_model=True, once=True) as app:
        return await app.call_wire(settings.operator(transport="cli"), name, {**arguments})
