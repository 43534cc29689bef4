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

_MEMORIES = {"memory", "memories", "mem", "tmws"}
"""What such a name may say beside that word."""

LONGER = 2
"""Times as long as the longest name a word may be and still resemble one: difflib asks for a ratio of 0.6."""


def nearest(word: str, names: Collection[str]) -> str | None:
    """Return the name that a word means or resembles most, or None; a long word is not read."""
    if len(word) > LONGER * max(map(len, names), default=0):
        return None
    verbs = set(word.lower().replace("-", "_").split("_")) - _MEMORIES
    meant = [name for name, words in WORDS.items() if verbs and verbs <= {*words} and name in names]
    near = meant or difflib.get_close_matches(word, names, n=1)
    return near[0] if near else None
