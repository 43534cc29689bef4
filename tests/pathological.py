"""Texts and batches that cost the most where something grows with more than their length."""

from collections.abc import Iterator, Mapping
from typing import Any

_ENDLESS: Mapping[str, str] = {
    "english": "The quick brown fox jumps over the lazy dog. ",
    "one word": "a",
    "digits": "1",
    "seams": "aA",
    "acronyms": "AAa",
    "short words": "a ",
    "underscores": "a_",
    "dots": ".",
    "line feeds": "a\n",
    "quotes": '"',
    "brackets": "([{",
    "syntax": 'a* OR "b" NEAR( ',
    "speakers": "A b c: ",
    "initials": "A.'-",
    "months": "january ",
    "prepositions": "in ",
    "numbers of": "1 of ",
    "number words": "one ",
    "dates": "2024-01-",
    "days": "1 day ",
    "marks": "\u0301\u0316",
    "classes of marks": "\u0345\u0301\u0316\u0327\u0334",
    "invisible marks": "\u0301\u0316\u200d",
    "half-width marks": "\uff9e\u0301\u0316",
    "thai marks": "\u0e38\u0e48",
    "thai vowels": "\u0e31",
    "tibetan vowels": "\u0f73\u0f81",
    "hebrew points": "\u05b0\u05bc\u05c1\u0591",
    "chinese": "\u6f22",
    "korean": "\ud55c",
    "jamo": "\u1100\u1161\u11a8",
    "emoji": "\U0001f600",
    "families": "\U0001f468\u200d",
    "ligatures": "\ufdfa",
    "squared words": "\u3316",
    "sigmas": "\u03a3.",
    "controls of direction": "\u202e",
}

_BEGINS = {"marks": "a", "classes of marks": "a", "thai marks": "\u0e01", "hebrew points": "\u05d0"}
_ENDS = {"seams": "\u00e9", "acronyms": "_"}


def texts(size: int) -> dict[str, str]:
    """Return each of the texts, with at most `size` bytes and few less."""
    made = {
        name: _cut(_BEGINS.get(name, "") + piece * (size // len(piece) + 1), size, _ENDS.get(name, ""))
        for name, piece in _ENDLESS.items()
    }
    return made | {"distinct words": _cut(" ".join(f"{number:x}" for number in range(size // 4)), size)}


def repetitions() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield batches whose memories have much to be compared with, the one of another batch or each other."""
    lists: list[list[Any]] = [[]] * 2400
    yield "alike", [{"content": "a", "metadata": {"a": number, "p": lists}} for number in range(32)]
    yield "repeated", [{"content": "a", "metadata": {"a": 0}}] * 1000
    keys = {f"{number:x}": 0 for number in range(1500)}
    yield "many keys in a value", [{"content": "b", "metadata": {"p": keys, "z": number}} for number in range(120)]
    yield "many names", [{"content": "c", "metadata": {**keys, "z": number}} for number in range(120)]


def _cut(text: str, size: int, end: str = "") -> str:
    return text[:size].encode()[: size - len(end.encode())].decode(errors="ignore") + end
