"""Strings of a query that are meant as they stand: `2.4.7`, `C#`, `.NET`, `10.0.0.17`, `a/b.py`, `$50`, an emoji.

The lexical index knows their words alone, in any order and without the symbols. So the texts of the candidates are
looked through for them.
"""

import re
import unicodedata
from collections.abc import Iterator

import attrs

from tmws_core.domain.text import UNSPACED

READ, MOST, LONGEST, TRIED = 4096, 8, 200, 100
"""Characters of a query that are read for such strings, how many of them count, how long they are at most, and how many
of the places are looked at where a text has one."""

WHOLE, WITHIN, PLAIN = 1.0, 0.5, 0.1
"""What it counts that a text has a string: standing alone, within a longer one (`b.py` in `a/b.py`), and if it is no
more than words with hyphens or slashes (`self-care`)."""

_QUOTED = re.compile('["\u201c\u201e]([^"\n\u201c\u201d\u201e]{2,200})["\u201c\u201d]')

_OPENING = "\"'`([{<,;!?\u2018\u201c\u201e\u00ab\u00bf\u00a1"
_CLOSING = "\"'`)]}>,;!?.:\u2019\u201d\u00bb\u3002\u3001\u2026"

_SIGNS = ".-/:#+_@\\"
"""What stands between the parts of one string."""

_JOINERS = re.escape(_SIGNS)

_COMPOUND = re.compile(
    rf"""
    [^\W_] [{_JOINERS}]+ [^\W_]                     # 2.4.7, a/b.py, user@host, max_retries
    | ^ (?:--?|[.\#@+]) [^\W_]                      # .NET, #channel, @ana, -5, --flag
    | [^\W_] (?:[+\#]{{1,2}}|%) $                   # C++, F#, 5%
    | \d,\d                                        # 1,000
    """,
    re.VERBOSE,
)

_VERSION = re.compile(r"^v(?=\d)", re.IGNORECASE)

_NAME = re.compile(rf"_*+[^\W\d_]++(?:[{_JOINERS}]++[^\W\d_]++)*+_*+")
"""What has neither digits nor signs at its ends, and may be written with other signs, or none, between its words.

No part of it can be matched in two ways: many underscores would take for ever.
"""

_WORDS = re.compile(r"[^\W\d_]+(?:[-/][^\W\d_]+)+|[^\W\d_](?:\.[^\W\d_])+")
"""Words with hyphens or slashes, and abbreviations such as `e.g`."""

_VARIATION = "\N{VARIATION SELECTOR-16}"
"""What makes a picture of a character that may be written without it."""

_SYMBOLS = {"So", "Sc"}
"""Categories of emoji and other pictures, and of currencies; mathematical signs stand mostly for themselves."""


@attrs.frozen
class _String:
    text: str
    weight: float


@attrs.frozen
class ExactStrings:
    """The strings of a query, held against each candidate; `only` if it is nothing else, and none is made of words."""

    strings: tuple[_String, ...]
    only: bool

    @classmethod
    def of(cls, query: str) -> "ExactStrings":
        """Read a query."""
        read = query[:READ]
        found = {text: WHOLE for match in _QUOTED.finditer(read) if (text := _plain(match[1].strip()))}
        others = False
        for token in _tokens(_QUOTED.sub(" ", read)):
            if _is_meant(token):
                found.setdefault(_plain(token), PLAIN if _WORDS.fullmatch(token) else WHOLE)
            elif any(map(str.isalnum, token)):
                others = True
        strings = tuple(_String(text, weight) for text, weight in found.items() if len(text) <= LONGEST)[:MOST]
        others = others or any(_NAME.fullmatch(string.text) or " " in string.text for string in strings)
        return cls(strings, bool(strings) and not others)

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self.strings)

    @property
    def demand(self) -> bool:
        """Tell whether one of them is worth looking through more texts than the best."""
        return any(string.weight == WHOLE for string in self.strings)

    @property
    def text(self) -> str:
        """The strings as a query of their own."""
        return " ".join(string.text for string in self.strings)

    def share(self, content: str) -> float:
        """Return how much of the strings a text has, from 0 to 1: on average of what each counts."""
        if not self.strings:
            return 0.0
        text = _plain(content)
        return sum(string.weight * _found(string.text, text) for string in self.strings) / len(self.strings)


def _tokens(text: str) -> Iterator[str]:
    for token in UNSPACED.sub(" ", text).split():
        yield _VERSION.sub("", token.lstrip(_OPENING).rstrip(_CLOSING).rstrip("/"), count=1)


def _is_meant(token: str) -> bool:
    return bool(_COMPOUND.search(token)) or any(unicodedata.category(character) in _SYMBOLS for character in token)


def _plain(text: str) -> str:
    return text.lower().replace(_VARIATION, "")


def _found(string: str, text: str) -> float:
    """Return 1 for a string that stands alone somewhere in a text, WITHIN for one in a longer compound, else 0."""
    best, place = 0.0, -1
    for _ in range(TRIED):
        place = text.find(string, place + 1)
        if place < 0 or best == 1:
            break
        best = max(best, _standing(text, place, place + len(string)))
    return best


def _standing(text: str, start: int, end: int) -> float:
    before, after = text[max(start - 2, 0) : start], text[end : end + 2]
    first, last = text[start], text[end - 1]
    if before[-1:] == "v" and not before[:-1].isalnum() and first.isdigit():
        before = ""  # v2.4.7
    if (first.isalnum() and before[-1:].isalnum()) or (last.isalnum() and after[:1].isalnum()):
        return 0.0
    return WITHIN if _joins(before[::-1], first) or _joins(after, last) else 1.0


def _joins(beside: str, edge: str) -> bool:
    """Tell whether what stands beside a string, read away from it, makes it a part of something longer."""
    joiner, further = beside[:1], beside[1:]
    if not joiner or joiner not in _SIGNS:
        return False
    return further.isalnum() or joiner == edge or joiner in "#+"
