"""Excerpts: what an answer shows of texts that are longer than their share of it."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice, repeat
from math import sqrt

import attrs

from tmws_core.domain.exact import ExactStrings
from tmws_core.domain.text import DIACRITICS, is_unspaced, plainest, query_terms, stands_alone

ELLIPSIS = "\u2026"
"""Stands where something of a text is left out."""

_ELLIPSIS_BYTES = len(ELLIPSIS.encode())

_FIRST = 2
"""How many times the share of another hit the best one has, if its text is as long."""

_REACH = 32
"""Characters that a cut is moved by at most, to the end of a word or of what is written on one letter."""

_LEAD = 3
"""One part in so many of what an excerpt has room for beside a match stands before it, and is given up at its end."""

_KEPT, _TRIED = 20, 200
"""Places of one word of the query that are weighed, and places where its letters stand that are looked at."""

_TRIES = 40_000
"""Places that are looked at for one answer: 100 texts of 60 KB and eight words of a query need 13,000 (measured)."""

_ENDLESS = repeat(None)

_INFLECTED = 5
"""Letters by which a word of a text may be longer than the stem of one of the query."""

_ENDING = re.compile(r"(?<=[a-z]{4})(?:ations?|ings?|ments?|ies|ied|ers?|es|ed|ly|s|y|e)$")

_DOUBLED = re.compile(r"([bdfgmnprt])\1$")
"""What "running" has more than "run" before its ending."""

_SAME = 1e-9
"""What sums of the same weights may differ by."""

_JOINER = "\u200d"

_SKIN = range(0x1F3FB, 0x1F400)

_FLAGS = range(0x1F1E6, 0x1F200)
"""Letters of flags, of which two are one flag."""


@attrs.frozen
class Excerpt:
    """What is shown of a text: all of it, or a part that begins with the character `offset`, between ellipses."""

    text: str
    offset: int | None = None


_Word = tuple[str, bool]
"""A word of the query, in any form or exactly."""


@attrs.frozen
class _Place:
    """Where a text has a word of the query, in characters of the text."""

    start: int
    end: int
    words: tuple[_Word, ...]


def size_of(text: str) -> int:
    """Return the size of a text in an answer: its bytes in UTF-8, of which a model reads about four as one token."""
    return len(text) if text.isascii() else len(text.encode())


def excerpts(texts: Sequence[str], room: int, query: str | None = None) -> list[Excerpt]:
    """Return what is shown of texts that share so much room: short ones are whole, the others have equal parts.

    Answers to a query have the part around its words, and the first one twice as much; without one, the beginnings.

    Args:
        texts: any texts.
        room: bytes in UTF-8 of all together.
        query: what they answer, if anything.
    """
    return [*map(cutter(texts, room, query), texts)]


def cutter(texts: Sequence[str], room: int, query: str | None = None) -> Callable[[str], Excerpt]:
    """Return what is to be called with each of the texts, in their order, for its part: see `excerpts`.

    It looks for the words in so many places of all the texts: of those behind, it then returns the beginnings.
    """
    parts = shares([*map(size_of, texts)], room, 1 if query is None else _FIRST)
    cut = any(size_of(text) > part for text, part in zip(texts, parts, strict=True))
    terms = _terms(query) if cut and query is not None else []
    sizes, tries = iter(parts), repeat(None, _TRIES)
    return lambda text: excerpt(text, next(sizes), terms, tries)


def _terms(query: str) -> list[str]:
    """Return what a query is looked for by: strings that are meant as they stand, and words."""
    return [*(string.text for string in ExactStrings.of(query).strings), *query_terms(query)]


def shares(sizes: Sequence[int], room: int, first: int = 1) -> list[int]:
    """Return how much of each text is shown: short ones are whole, and the others share what is left.

    The first one counts as `first` others.
    """
    weights = [first, *repeat(1, len(sizes) - 1)]
    given = [0] * len(sizes)
    waiting = sum(weights)
    for place in sorted(range(len(sizes)), key=lambda place: sizes[place] / weights[place]):
        given[place] = min(sizes[place], room * weights[place] // waiting)
        room -= given[place]
        waiting -= weights[place]
    return given


def excerpt(text: str, size: int, terms: Sequence[str] = (), tries: Iterator[None] = _ENDLESS) -> Excerpt:
    """Return the part of a text that has most of the terms near one another; of a text without them, the beginning.

    It has at most `size` bytes in UTF-8, or an ellipsis alone, and is cut between words where there are some. The terms
    are words as `query_terms` returns them, or strings of any characters. Each place that is looked at takes one of the
    `tries`.
    """
    if size_of(text) <= size:
        return Excerpt(text)
    room = max(size - 2 * _ELLIPSIS_BYTES, 0)
    width = max(room * len(text) // size_of(text), 1)
    found = _densest(sorted(_places(text, terms, tries), key=lambda place: place.start), width)
    start = end = 0
    if found is not None:
        first, end = found
        start = max(min(first - (width - (end - first)) // _LEAD, len(text) - width), 0)
        start = _word_start(text, start, first)
    end = _cut(text, start, room, end)
    shown = text[start:end].strip()
    if not shown:
        return Excerpt(ELLIPSIS, start)
    return Excerpt(f"{ELLIPSIS if start else ''}{shown}{ELLIPSIS if end < len(text) else ''}", start)


def range_end(text: str, start: int, size: int) -> int:
    """Return where a range of a text ends that begins at a character: after `size` bytes of UTF-8 at most.

    It is no less than one character long if there is one, and ends between words if it can.
    """
    return min(max(_cut(text, start, size, start), start + 1), len(text))


def _cut(text: str, start: int, size: int, beyond: int) -> int:
    """Return the last good place for a cut, behind `beyond` if it can be, and `size` bytes from the start at most."""
    piece = text[start : start + size]
    end = start + (len(piece) if piece.isascii() else len(piece.encode()[:size].decode(errors="ignore")))
    if end >= len(text):
        return len(text)
    lowest = min(max(end - min(_REACH, size // _LEAD), beyond, start + 1), end)
    for place in range(end, lowest - 1, -1):
        if text[place].isspace() and not text[place - 1].isspace():
            return place
    return next((place for place in range(end, lowest - 1, -1) if not _splits(text, place)), end)


def _word_start(text: str, start: int, match: int) -> int:
    """Return where a word begins at or behind `start`, and not behind the match."""
    if start == 0:
        return 0
    near = range(start, min(start + _REACH, match) + 1)
    spaced = (place for place in near if text[place - 1].isspace() and not text[place].isspace())
    return next(spaced, next((place for place in near if not _splits(text, place)), start))


def _splits(text: str, place: int) -> bool:
    """Tell whether a cut before a character parts what is read as one."""
    before, behind = text[place - 1], text[place]
    if ord(behind) in _FLAGS:
        letters = 0
        while letters < min(place, _REACH) and ord(text[place - 1 - letters]) in _FLAGS:
            letters += 1
        return letters % 2 == 1
    joined = _JOINER in (before, behind) or ord(behind) in _SKIN or (before, behind) == ("\r", "\n")
    return joined or not stands_alone(behind)


def _densest(places: Sequence[_Place], width: int) -> tuple[int, int] | None:
    """Return the first and the last character of the places within `width` characters that tell most together.

    A word tells the more the less often the text has it.
    """
    counts = Counter(word for place in places for word in place.words)
    held: Counter[_Word] = Counter()
    best, most, weight, end = None, 0.0, 0.0, 0
    for start, first in enumerate(places):
        while end < len(places) and (end == start or places[end].end - first.start <= width):
            weight += sum(1 / sqrt(counts[word]) for word in places[end].words if not held[word])
            held.update(places[end].words)
            end += 1
        if weight > most + _SAME:
            best, most = (first.start, max(place.end for place in places[start:end])), weight
        held.subtract(first.words)
        weight -= sum(1 / sqrt(counts[word]) for word in first.words if not held[word])
    return best


def _places(text: str, terms: Sequence[str], tries: Iterator[None]) -> Iterator[_Place]:
    folded, origin = _folded(text) if terms else ("", ())
    for term in ("".join(map(_fold, term)) for term in terms):
        stem = _stem(term)
        kept = 0
        for start in _starts(folded, stem, tries):
            end = _word_end(text, folded, origin, start + len(stem), term)
            if end is not None and (is_unspaced(term) or not _continues(text, folded, origin, start)):
                exact = [(term, True)] if folded[start:end] == term else []
                yield _Place(origin[start], origin[end], ((term, False), *exact))
                kept += 1
            if kept == _KEPT:
                break


def _starts(folded: str, stem: str, tries: Iterator[None]) -> Iterator[int]:
    place = -1
    for _ in islice(tries, _TRIED):
        place = folded.find(stem, place + 1)
        if place < 0 or not stem:
            return
        yield place


def _word_end(text: str, folded: str, origin: Sequence[int], stem_end: int, term: str) -> int | None:
    """Return where the word ends that begins with the stem of a term; None if it is longer than a form of it."""
    if is_unspaced(term):
        return stem_end
    longest = stem_end + (_INFLECTED if term.isalpha() else 0)
    end = stem_end
    while end <= longest and _continues(text, folded, origin, end):
        end += 1
    return end if end <= longest else None


def _continues(text: str, folded: str, origin: Sequence[int], place: int) -> bool:
    """Tell whether a character of the folded text goes on with a word.

    A capital behind a small letter begins one, and so does what is written without spaces beside what is not.
    """
    if not 0 < place < len(folded) or not (folded[place].isalnum() and folded[place - 1].isalnum()):
        return False
    if text[origin[place]].isupper() and text[origin[place - 1]].islower():
        return False
    return is_unspaced(folded[place]) == is_unspaced(folded[place - 1])


@lru_cache(maxsize=256)
def _stem(term: str) -> str:
    if not (term.isascii() and term.isalpha()):
        return term
    stem = _ENDING.sub("", term)
    return stem if stem == term else _DOUBLED.sub(r"\1", stem)


def _folded(text: str) -> tuple[str, Sequence[int]]:
    """Return a text as words are compared, and for each character of it, and its end, which one of the text it is."""
    if text.isascii():
        return text.lower(), range(len(text) + 1)
    table = {ord(character): _fold(character) for character in set(text)}
    folded = text.translate(table)
    if all(len(form) == 1 for form in table.values()):
        return folded, range(len(text) + 1)
    places = chain.from_iterable(repeat(place, len(table[ord(character)])) for place, character in enumerate(text))
    return folded, [*places, len(text)]


@lru_cache(maxsize=4096)
def _fold(character: str) -> str:
    """Return a character as words are compared: in no case, no compatibility form, and without accents."""
    if unicodedata.category(character) == "Cf":
        return ""
    plain = "".join(map(plainest, unicodedata.normalize("NFKC", character)))
    apart = unicodedata.normalize("NFD", plain.lower())
    return unicodedata.normalize("NFC", "".join(mark for mark in apart if ord(mark) not in DIACRITICS))
