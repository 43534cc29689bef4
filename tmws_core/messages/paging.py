"""Answers that come page by page."""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs

from tmws_core.domain import cursor
from tmws_core.domain.access import visibility_of
from tmws_core.domain.agent import Caller
from tmws_core.wire import unstructure


@attrs.frozen
class Cursors:
    """Makes and reads cursors of requests that have `cursor`, and maybe `limit`.

    A cursor is good for whoever sees what the caller saw that it was made for. Of the `keys`, which are asked for only
    when there is a cursor, the first one seals; the others open what was sealed before.
    """

    keys: Callable[[], Awaitable[Sequence[bytes]]]

    async def position(self, caller: Caller, request: Any) -> str | None:
        """Return where the page begins that is asked for, or None for the first one; InvalidField as `decode` says."""
        if request.cursor is None:
            return None
        return cursor.decode(await self.keys(), _identity(caller, request), request.cursor)

    async def at(self, caller: Caller, request: Any, position: str) -> str:
        """Return the cursor of the page that begins at a position."""
        return cursor.encode((await self.keys())[0], _identity(caller, request), position)


def _identity(caller: Caller, request: Any) -> str:
    """Return what identifies a request of a caller, whichever page is asked for, and however much is told on it."""
    anyhow = {"cursor": None, "limit": 1, "offset": 0, "max_chars": 1, "details": False}
    asked = unstructure(attrs.evolve(request, **{name: anyhow[name] for name in anyhow if hasattr(request, name)}))
    seen = attrs.astuple(visibility_of(caller))
    return json.dumps([type(request).__name__, asked, seen], sort_keys=True)
