"""Several words in one string, as people and programs write them where a list is meant."""

import json
import re
from contextlib import suppress

CHARACTERS = 32 * 1024
"""The longest string that is looked at as a list of words, twice as long as the longest list of readers."""

_CLOSING = {"[": "]", "{": "}", "(": ")"}
_QUOTED = r"""'((?:[^'\\]|\\['"\\])*+)'|"((?:[^"\\]|\\['"\\])*+)\""""
_ITEM = re.compile(rf"\s*+(?:{_QUOTED}|([^,'\"\[\]{{}}\s][^,\"\[\]{{}}]*+)?)\s*+(?:,|\Z)")
_ESCAPED = re.compile(r"\\(.)")


def words_in(text: str) -> list[str] | None:
    """Return the words between the commas of a string; None if it begins as a list does, and is none.

    Brackets around them and quotation marks around each are no part of them: `['a', 'b']` is how Python writes a list,
    `{a,b}` how PostgreSQL does. Parentheses without a comma are part of a word.
    """
    if len(text) > CHARACTERS:
        return None
    plain = text.strip()
    closing = _CLOSING.get(plain[:1])
    if closing is None or (closing == ")" and not (plain.endswith(")") and _is_tuple(plain[1:-1]))):
        found = _items(plain)
        return [word for each in plain.split(",") if (word := each.strip())] if found is None else found
    if not plain.endswith(closing) or (closing == "}" and ":" in plain):
        return None
    found = _items(plain[1:-1])
    return _json_words(plain) if found is None else found


def _is_tuple(inner: str) -> bool:
    return "," in inner and "(" not in inner and ")" not in inner


def _items(inner: str) -> list[str] | None:
    """Return what stands between commas, without quotation marks; None if these, or brackets, are elsewhere."""
    words: list[str] = []
    place = 0
    while place < len(inner):
        item = _ITEM.match(inner, place)
        if item is None:
            return None
        single, double, bare = item.groups()
        quoted = double if single is None else single
        word = (bare or "").strip() if quoted is None else _ESCAPED.sub(r"\1", quoted).strip()
        words += [word] if word else []
        place = item.end()
    return words


def _json_words(text: str) -> list[str] | None:
    """Return the words of a JSON list, which may have escapes of its own."""
    with suppress(ValueError, RecursionError):
        found = json.loads(text)
        if isinstance(found, list) and all(isinstance(word, str) for word in found):
            return found
    return None
