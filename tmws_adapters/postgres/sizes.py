"""How large scopes are, remembered for a while: it decides how a search goes about, not what it finds."""

import time
from collections import OrderedDict

import attrs

from tmws_adapters.postgres.frequencies import Frequencies
from tmws_adapters.postgres.predicate import inside
from tmws_adapters.postgres.session import Session
from tmws_core.domain.access import Scope, Visibility
from tmws_core.domain.memory import MemoryFilter

KEPT = 1000
"""Scopes whose size is remembered."""

SECONDS = 60.0
"""For how long."""

_WIDE = frozenset({"namespace", "agent_id", "include_expired", "include_superseded"})
"""Filters whose effect the frequencies of readers tell, or that hardly have one."""

_Key = tuple[Visibility, MemoryFilter, bool]


@attrs.frozen
class Size:
    """How many documents a scope holds, at most, as far as its readers tell, and the store."""

    members: int
    documents: int


@attrs.define(eq=False)
class Sizes:
    """Tells small scopes from large ones."""

    _frequencies: Frequencies
    _known: "OrderedDict[_Key, tuple[float, bool]]" = attrs.field(factory=OrderedDict, init=False)

    async def estimated(self, session: Session, scope: Scope) -> Size:
        """Return how large a scope is, at most."""
        state = await self._frequencies.state(session)
        return Size(await self._frequencies.members(session, scope), state.documents)

    async def exceeds(self, session: Session, scope: Scope, bound: int) -> bool:
        """Tell whether a scope that was `estimated` holds more documents than the bound, always the same one."""
        if await self._frequencies.members(session, scope) <= bound:
            return False
        if _is_wide(scope):
            return True
        key = (scope.visibility, scope.filter, scope.historic)
        known = self._known.get(key)
        if known is None or time.monotonic() - known[0] > SECONDS:
            known = (time.monotonic(), await _counted(session, scope, bound))
            self._known[key] = known
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        return known[1]


def _is_wide(scope: Scope) -> bool:
    wanted = attrs.asdict(scope.filter, recurse=False)
    return not scope.historic and not any(value for name, value in wanted.items() if name not in _WIDE)


async def _counted(session: Session, scope: Scope, bound: int) -> bool:
    part = inside(scope)
    sql = f"""
        SELECT count(*) > %(bound)s FROM (
            SELECT 1 FROM memories_v2 AS m WHERE m.model IS NOT NULL AND {part.sql} LIMIT %(bound)s + 1
        ) AS counted
    """  # noqa: S608 - texts are constants, values are bound
    ((exceeded,),) = await session.rows(sql, {**part.values, "bound": bound}, afresh=True)
    return bool(exceeded)
