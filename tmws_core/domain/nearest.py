"""What somebody probably meant who wrote a name that there is not."""

import difflib
from collections.abc import Collection, Mapping

WORDS: Mapping[str, tuple[str, ...]] = {
    "create_memory": ("store", "save", "remember", "put", "new", "create", "insert", "write", "note", "add"),
    "search_memories": ("find", "query", "recall", "ask", "grep", "retrieve", "lookup", "search"),
    "list_memories": ("ls", "list", "recent", "all"),
    "get_memory": ("show", "cat", "get", "read", "view", "open", "fetch"),
    "delete_memory": ("rm", "remove", "forget", "del", "delete"),
    "update_memory": ("change", "update", "set", "edit"),
    "share_memory": ("share",),
    "get_memory_stats": ("stats", "count"),
    "health_check": ("health", "ping", "status"),
}
"""What people and other programs call an operation: the first words of the names that they try."""

SPANS: Mapping[str, str] = {
    f"{name}_{unit}": unit
    for name in ("ttl", "expires_in")
    for unit in ("seconds", "minutes", "hours", "days", "weeks")
}
"""Names that say in which unit their number counts, and that unit."""

ALIASES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("text", "body", "note", "message"), ("content", "query")),
    **dict.fromkeys(("q", "question", "search", "search_query", "search_text"), ("query",)),
    **dict.fromkeys(("id", "uuid"), ("memory_id",)),
    **dict.fromkeys(("memory",), ("memory_id", "content")),
    **dict.fromkeys(("agent", "agent_name"), ("agent_id",)),
    **dict.fromkeys(
        ("top_k", "topk", "k", "n", "n_results", "num_results", "max_results", "count", "page_size", "size"), ("limit",)
    ),
    **dict.fromkeys(("tag", "label", "labels", "keywords", "category", "categories"), ("tags",)),
    **dict.fromkeys(("type", "kind"), ("memory_type",)),
    **dict.fromkeys(("meta", "meta_data", "properties"), ("metadata",)),
    **dict.fromkeys(("session", "conversation_id", "thread_id", "run_id"), ("session_id",)),
    **dict.fromkeys(("access", "visibility"), ("access_level",)),
    **dict.fromkeys(("share_with", "readers"), ("shared_with",)),
    **dict.fromkeys(("date", "timestamp", "event_date"), ("occurred_at",)),
    **dict.fromkeys(("expires", "expiry", "expiration", "expiration_date", "ttl", "expires_in"), ("expires_at",)),
    **dict.fromkeys(SPANS, ("expires_at",)),
    **dict.fromkeys(("url", "source_url"), ("source",)),
    **dict.fromkeys(("next_cursor", "page_token"), ("cursor",)),
    **dict.fromkeys(("history", "with_history"), ("include_history",)),
    **dict.fromkeys(("max_characters", "max_length", "max_content_length"), ("max_chars",)),
    **dict.fromkeys(("start_index",), ("offset",)),
    **dict.fromkeys(("min_score", "threshold", "score_threshold", "similarity_threshold"), ("min_similarity",)),
    **dict.fromkeys(("search_mode", "search_type"), ("mode",)),
    **dict.fromkeys(("items", "entries", "notes", "documents", "texts"), ("memories",)),
}
"""Names that other servers of memory and models use, and the field that each can only mean; the first that there is."""

CHOICES: Mapping[str, Mapping[str, str]] = {
    "memory_type": {
        **dict.fromkeys(("event", "events", "episode"), "episodic"),
        **dict.fromkeys(("fact", "facts", "knowledge"), "semantic"),
        **dict.fromkeys(("procedure", "how_to", "howto", "instructions"), "procedural"),
    },
    "mode": {
        **dict.fromkeys(("keyword", "keywords", "bm25", "full_text", "fulltext"), "lexical"),
        **dict.fromkeys(("vector", "vectors", "embedding", "embeddings", "similarity"), "semantic"),
    },
}
"""Other words for the values of a field, by its name."""

SAYING_NONE = frozenset(
    {"content", "query", "permission", "access_level", "role", "namespace", "agent_id", "tags", "tags_any", "tags_all"}
)
"""Fields in which such a word is said: texts, names, and rights, of which `none` may mean that there are to be none."""

OF_NO_FIELD: Mapping[str, str] = dict.fromkeys(
    ("user_id", "user", "owner", "owner_id", "app_id"),
    "Memories belong to the agent that calls: leave it out. Whom one is about goes into tags or metadata; agent_id "
    "names an agent in whose name you may act",
)
"""Names that other programs have and no field stands for, and what to do instead."""

EITHER: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("since", "after", "from", "start", "start_date", "newer_than"), ("created_after", "occurred_after")
    ),
    **dict.fromkeys(("until", "before", "to", "end", "end_date", "older_than"), ("created_before", "occurred_before")),
    **dict.fromkeys(("tags", "tag", "label", "labels", "keywords", "category", "categories"), ("tags_any", "tags_all")),
}
"""Names that can mean each of several fields: whoever uses one is told of all."""

_MEMORIES = {"memory", "memories", "mem", "tmws"}
"""What such a name may say beside that word."""

CLOSE = 0.75
"""How alike two spellings are (difflib) of which one is meant by the other: `serach` and `search` 0.83, `sort` and
`cursor` 0.6, `stdio` and `stop` 0.67, `force` and `source` 0.73."""

LONGER = 2
"""Times as long as the longest name a word may be and still resemble one: a ratio of CLOSE allows 1.7 times."""


def nearest(word: str, names: Collection[str]) -> str | None:
    """Return the name that a word means or resembles most, or None; a long word is not read."""
    if len(word) > LONGER * max(map(len, names), default=0):
        return None
    verbs = set(word.lower().replace("-", "_").split("_")) - _MEMORIES
    meant = [name for name, words in WORDS.items() if verbs and verbs <= {*words} and name in names]
    near = meant or difflib.get_close_matches(word, names, n=1, cutoff=CLOSE)
    return near[0] if near else None
