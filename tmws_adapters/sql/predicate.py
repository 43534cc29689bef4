"""Which conditions make a scope; each store writes them in its own words.

The meaning is `tmws_core.domain.access`: `Visibility.includes`, and the docstrings of `Scope` and `MemoryFilter`.
Every value is bound, none is written into the text.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from enum import Enum
from typing import Any

import attrs

from tmws_core.domain.access import Scope
from tmws_core.domain.memory import MemoryFilter


@attrs.frozen
class Predicate:
    """A condition and the values that it binds by name."""

    sql: str
    values: dict[str, Any]


@attrs.frozen(kw_only=True)
class Words:
    """How a store says it: a condition for each field of MemoryFilter, and the placeholder of the scope's time.

    In the filters "after" is inclusive and "before" is not, so that adjoining ranges share no memory.
    """

    filters: Mapping[str, str]
    at: str
    time: Callable[[datetime], Any]
    items: Callable[[tuple[str, ...]], Any]

    def inside(self, scope: Scope, seen: Predicate) -> Predicate:
        """Return the condition for lying in a scope, of the rows `m`; `seen` is the one for being visible."""
        values = dict(self._values(scope.filter))
        conditions = [seen.sql, *(self.filters[name] for name in values)]
        if scope.historic:
            conditions.append(f"m.created_at <= {self.at}")
        if not scope.filter.include_expired:
            conditions.append(f"(m.expires_at IS NULL OR m.expires_at > {self.at})")
        if not scope.filter.include_superseded:
            later = f" OR m.superseded_at > {self.at}" if scope.historic else ""
            conditions.append(f"(m.superseded_at IS NULL{later})")
        return Predicate(" AND ".join(conditions), {**seen.values, **values, "at": self.time(scope.at)})

    def _values(self, wanted: MemoryFilter) -> Iterator[tuple[str, Any]]:
        for name in self.filters:
            value = getattr(wanted, name)
            if value is not None and value != ():
                yield name, self._bound(value)

    def _bound(self, value: Any) -> Any:
        match value:
            case Enum():
                return str(value.value)
            case datetime():
                return self.time(value)
            case tuple():
                return self.items(value)
            case _:
                return value
