"""What is said where a list or a search has found nothing, or nothing that is surely relevant."""

from collections.abc import Mapping

FILTERS: Mapping[str, str] = {
    "namespace": "namespace {}",
    "agent_id": "agent_id {} (what that agent owns)",
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
"""The fields of a list or a search that leave memories out, and how each is told, a name with its value."""

CLOSEST = 3
"""Hits that are told where none is relevant: people and models take a long list for an answer. The JSON has all."""


def none_for(arguments: object) -> str | None:
    """Return the sentence that nothing passed the filters of a request, if it has any."""
    given = arguments if isinstance(arguments, Mapping) else {}
    values = {name: given.get(name) for name in FILTERS}
    told = [FILTERS[name].format(value) for name, value in values.items() if value not in (None, "", [], ())]
    return f"There are none with these filters: {', '.join(told)}." if told else None


def closest_of(hits: int, all_of_them: str = "") -> str:
    """Return the sentence above the closest of so many hits of which none is surely relevant.

    The first of them may still be what was meant, in other words. `all_of_them` says where the others are.
    """
    which = f"The {CLOSEST} closest of {hits}{all_of_them}" if hits > CLOSEST else "The closest"
    return f"Nothing surely relevant was found. {which}:"
