"""Who may see what, as SQL: the one place where a scope becomes a condition on the rows `m` of memories_v2."""

from tmws_adapters.postgres.readers import audience_for
from tmws_adapters.sql.predicate import Predicate, Words
from tmws_adapters.sql.times import native
from tmws_core.domain.access import Scope, Visibility

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

_WORDS = Words(filters=_FILTERS, at="%(at)s", time=native, items=list)

ONE_MEMORY = """
    SELECT 1 FROM (SELECT * FROM memories_v2 WHERE document = {document} OFFSET 0) AS m WHERE {inside} OFFSET 0
"""
"""Whether one document lies in a scope, for a loop over documents.

OFFSET keeps the planner from looking for the scope's memories instead, and from making the loop a join: both read all
memories for each of a few.
"""


def visible(visibility: Visibility) -> Predicate:
    """Return the condition for being visible."""
    if visibility.everything:
        return Predicate("TRUE", {})
    return Predicate(_VISIBLE, {"audience": audience_for(visibility)})


def inside(scope: Scope) -> Predicate:
    """Return the condition for lying in a scope."""
    return _WORDS.inside(scope, visible(scope.visibility))
