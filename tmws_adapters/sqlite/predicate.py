"""Who may see what, as SQL: the one place where a scope becomes a condition on the rows `m` of memories_v2.

The meaning is `tmws_core.domain.access`: `Visibility.includes`, and the docstrings of `Scope` and `MemoryFilter`.
Every value is bound, none is written into the text.
"""

from collections.abc import Iterator
from datetime import datetime
from enum import Enum

import attrs
import orjson

from tmws_adapters.sqlite.times import microseconds
from tmws_core.domain.access import Scope, Visibility
from tmws_core.domain.memory import MemoryFilter

Value = str | int | float

_VISIBLE = """(
    m.agent_id = :caller_id
    OR m.access_level IN ('public', 'system')
    OR (m.access_level = 'team' AND m.namespace = :caller_namespace)
    OR (m.access_level = 'shared' AND m.document IN (
        SELECT shared.document FROM memory_shares AS share
        JOIN memories_v2 AS shared ON shared.id = share.memory_id
        WHERE share.agent_id = :caller_id
    ))
)"""

_FILTERS = {
    "namespace": "m.namespace = :namespace",
    "agent_id": "m.agent_id = :agent_id",
    "memory_type": "m.memory_type = :memory_type",
    "session_id": "m.session_id = :session_id",
    "min_importance": "m.importance >= :min_importance",
    "occurred_after": "m.occurred_at >= :occurred_after",
    "occurred_before": "m.occurred_at < :occurred_before",
    "created_after": "m.created_at >= :created_after",
    "created_before": "m.created_at < :created_before",
    "tags_any": "EXISTS (SELECT 1 FROM json_each(m.tags) WHERE value IN (SELECT value FROM json_each(:tags_any)))",
    "tags_all": "NOT EXISTS (SELECT 1 FROM json_each(:tags_all) AS wanted"
    " WHERE wanted.value NOT IN (SELECT value FROM json_each(m.tags)))",
}
"""By field of MemoryFilter; "after" is inclusive and "before" is not, so that adjoining ranges share no memory."""


_SUPERSEDED_LATER = "(m.superseded_at IS NULL OR m.superseded_at > :at)"


@attrs.frozen
class Predicate:
    """A condition and the values that it binds by name."""

    sql: str
    values: dict[str, Value]


def visible(visibility: Visibility) -> Predicate:
    """Return the condition for being visible."""
    if visibility.everything:
        return Predicate("TRUE", {})
    return Predicate(_VISIBLE, {"caller_id": visibility.agent_id, "caller_namespace": visibility.namespace})


def inside(scope: Scope) -> Predicate:
    """Return the condition for lying in a scope."""
    seen = visible(scope.visibility)
    values = dict(_filter_values(scope.filter))
    conditions = [seen.sql, *(_FILTERS[name] for name in values)]
    if scope.historic:
        conditions.append("m.created_at <= :at")
    if not scope.filter.include_expired:
        conditions.append("(m.expires_at IS NULL OR m.expires_at > :at)")
    if not scope.filter.include_superseded:
        conditions.append(_SUPERSEDED_LATER if scope.historic else "m.superseded_at IS NULL")
    return Predicate(" AND ".join(conditions), {**seen.values, **values, "at": microseconds(scope.at)})


def _filter_values(wanted: MemoryFilter) -> Iterator[tuple[str, Value]]:
    for name in _FILTERS:
        value = getattr(wanted, name)
        if value is not None and value != ():
            yield name, _bound(value)


def _bound(value: str | float | Enum | datetime | tuple[str, ...]) -> Value:
    match value:
        case Enum():
            return str(value.value)
        case datetime():
            return microseconds(value)
        case tuple():
            return orjson.dumps(value).decode()
        case _:
            return value
