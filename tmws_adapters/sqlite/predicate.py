"""Who may see what, as SQL: the one place where a scope becomes a condition on the rows `m` of memories_v2."""

import orjson

from tmws_adapters.sql.predicate import Predicate, Words
from tmws_adapters.sqlite.times import microseconds
from tmws_core.domain.access import Scope, Visibility

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

_WORDS = Words(filters=_FILTERS, at=":at", time=microseconds, items=lambda values: orjson.dumps(values).decode())


def visible(visibility: Visibility) -> Predicate:
    """Return the condition for being visible."""
    if visibility.everything:
        return Predicate("TRUE", {})
    return Predicate(_VISIBLE, {"caller_id": visibility.agent_id, "caller_namespace": visibility.namespace})


def inside(scope: Scope) -> Predicate:
    """Return the condition for lying in a scope."""
    return _WORDS.inside(scope, visible(scope.visibility))
