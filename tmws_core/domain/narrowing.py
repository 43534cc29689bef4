"""What narrows a list or a search: where nothing is found, it may be why."""

from collections.abc import Mapping

FILTERS: Mapping[str, str] = {
    "namespace": "namespace",
    "agent_id": "agent_id (what that agent owns)",
    "memory_type": "memory_type",
    "tags_any": "tags_any",
    "tags_all": "tags_all",
    "session_id": "session_id",
    "occurred_after": "occurred_after",
    "occurred_before": "occurred_before",
    "created_after": "created_after",
    "created_before": "created_before",
    "min_importance": "min_importance",
    "min_similarity": "min_similarity",
    "as_of": "as_of",
}
"""The fields of such a request that leave memories out, and how each is told."""


def none_for(arguments: object) -> str | None:
    """Return the sentence that nothing passed the filters of a request, if it has any."""
    given = arguments if isinstance(arguments, Mapping) else {}
    told = [words for name, words in FILTERS.items() if given.get(name) not in (None, "", [], ())]
    return f"There are none with these filters: {', '.join(told)}." if told else None
