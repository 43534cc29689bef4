"""Who may see what, as SQL: the one place where a scope becomes a condition on the rows `m` of memories_v2.

The meaning is `tmws_core.domain.access`: `Visibility.includes`, and the docstrings of `Scope` and `MemoryFilter`.
Every value is bound, none is written into the text.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Any

import attrs

from tmws_adapters.postgres.readers import audience_for
from tmws_core.domain.access import Scope, Visibility
from tmws_core.domain.memory import MemoryFilter

_VISIBLE = "m.audience && %(audience)s::text[]"

_FILTERS = {
    "namespace": "m.namespace = %(namespace)s",
    "agent_id": "m.agent_id = %(agent_id)s",
    "memory_type": "m.memory_type = %(memory_type)s",
    "session_id": "m.session_id = %(session_id)s",
    "min_importance": "m.importance >= %(min_importance)s",
    "occurred_after": "m.occurred_at >= %(occurred_after)s",
    "occurred_before": "m.occurred_at < %(occurred_before)s",
    "created_after": "m.created_at >= %(created_after)s",
    "created_before": "m.created_at < %(created_before)s",
    "tags_any": "m.tags && %(tags_any)s::text[]",
    "tags_all": "m.tags @> %(tags_all)s::text[]",
}
"""By field of MemoryFilter; "after" is inclusive and "before" is not, so that adjoining ranges share no memory."""

ONE_MEMORY = """
    SELECT 1 FROM (SELECT * FROM memories_v2 WHERE document = {document} OFFSET 0) AS m WHERE {inside} OFFSET 0
"""
"""Whether one document lies in a scope, for a loop over documents.

OFFSET keeps the planner from looking for the scope's memories instead, and from making the loop a join: both read all
memories for each of a few.
"""

_SUPERSEDED_LATER = "(m.superseded_at IS NULL OR m.superseded_at > %(at)s)"


@attrs.frozen
class Predicate:
    """A condition and the values that it binds by name."""

    sql: str
    values: dict[str, Any]


def visible(visibility: Visibility) -> Predicate:
    """Return the condition for being visible."""
    if visibility.everything:
        return Predicate("TRUE", {})
    return Predicate(_VISIBLE, {"audience": audience_for(visibility)})


def inside(scope: Scope) -> Predicate:
    """Return the condition for lying in a scope."""
    seen = visible(scope.visibility)
    values = dict(_filter_values(scope.filter))
    conditions = [seen.sql, *(_FILTERS[name] for name in values)]
    if scope.historic:
        conditions.append("m.created_at <= %(at)s")
    if not scope.filter.include_expired:
        conditions.append("(m.expires_at IS NULL OR m.expires_at > %(at)s)")
    if not scope.filter.include_superseded:
        conditions.append(_SUPERSEDED_LATER if scope.historic else "m.superseded_at IS NULL")
    return Predicate(" AND ".join(conditions), {**seen.values, **values, "at": scope.at})


def _filter_values(wanted: MemoryFilter) -> Iterator[tuple[str, Any]]:
    for name in _FILTERS:
        value = getattr(wanted, name)
        if value is not None and value != ():
            yield name, _bound(value)


def _bound(value: Any) -> Any:
    match value:
        case Enum():
            return str(value.value)
        case tuple():
            return list(value)
        case _:
            return value
