"""What somebody probably meant who wrote a name that there is not."""

import difflib
from collections.abc import Collection

LONGER = 2
"""Times as long as the longest name a word may be and still resemble one: difflib asks for a ratio of 0.6."""


def nearest(word: str, names: Collection[str]) -> str | None:
    """Return the name that a word resembles most, or None; a long word is not read."""
    if len(word) > LONGER * max(map(len, names), default=0):
        return None
    near = difflib.get_close_matches(word, names, n=1)
    return near[0] if near else None
