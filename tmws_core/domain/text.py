"""How text becomes what is indexed and asked: words for the lexical index, a passage for the embedder."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise

import attrs

from tmws_core.domain.dates import MONTHS

STOP_WORDS = frozenset(
    """
    a about after all also am an and any are as at be because been before being but by can could did do does
    doing for from had has have having he her here hers him his how i if in into is it its itself just me my
    no nor not of on or our ours she should so some such than that the their theirs them then there these
    they this those to too us very was we were what when where which while who whom why will with would you
    your yours
    """.split()  # noqa: SIM905 - a list literal of 130 words would fill a page
)
"""English function words; dropping them from questions lifts recall@10 on LoCoMo from 57.6 to 62.3."""

UNSPACED = re.compile(
    "["
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003fa1f"
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    "]+"
)
"""Runs of scripts that write words without spaces between them: Chinese, Japanese, Korean (whose spaced words are long
compounds); Thai, Lao, Burmese, Khmer."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""The seams of `camelCase` and `HTTPServer`."""

_CAMEL_WORD = re.compile(
    r"\b(?=[A-Za-z][A-Za-z0-9]*+\b)[A-Za-z][A-Za-z0-9]*(?:[a-z0-9][A-Z]|[A-Z][A-Z][a-z])[A-Za-z0-9]*\b"
)
"""A word of ASCII with a seam; what goes on behind it is looked at once, not once for each seam ("aAaA...é")."""

_SHORT = 7
"""Digits of a hash that Git shows where it abbreviates one (core.abbrev, for small repositories)."""

_HASH = re.compile(
    rf"(?<![0-9A-Za-z])(?=[0-9]*+[a-f])(?=[a-f]*+[0-9])([0-9a-f]{{{_SHORT}}})[0-9a-f]++(?![0-9A-Za-z])", re.IGNORECASE
)
"""A number in hexadecimal, of more digits and with both kinds of them, as nearly all hashes have."""

MARKS = 30
"""Marks in a row that are indexed: what Unicode calls stream-safe (UAX #15, section 13). No language writes as many,
and putting longer runs in order takes time that grows with their square."""

_MARKED = re.compile(r"(?:[^\w\x00-\x7f]|[\uff9e\uff9f])++")
"""Where marks may stand: none of them is a letter but two half-width ones of Japanese, and none is ASCII."""

_STEP = 2048
"""Characters that are normalised at a time, or a few more: 2 ms for the longest ligatures, 20 ms for 64 KiB of them, in
which no other thread runs (measured)."""

_JOINING = re.compile("[\u1100-\u11ff\u3131-\u318e\uff9e-\uffdc]")
"""Letters and half-width marks that may be joined with what is before them: parts of Korean syllables above all."""

_LETTERS = {
    **dict(zip("łŁøØıđĐħĦŧŦðÐёЁ", "lLoOidDhHtTdD\u0435\u0415", strict=True)),
    **dict(zip("ßẞœŒæÆþÞ", ("ss", "SS", "oe", "OE", "ae", "AE", "th", "TH"), strict=True)),
    **dict.fromkeys("أإآٱ", "\u0627"),
    **dict(zip("\u03c2\u01e1\u01e0", "\u03c3aA", strict=True)),
    **dict.fromkeys("\u0640\u1abe\ufe0e\ufe0f", ""),
    **dict.fromkeys("\u02b9\u02bb\u02bc\u02bd\ua78b\ua78c", "'"),
}
"""Letters that are written otherwise on other keyboards, and that no decomposition takes apart, or none that FTS5 has.
Four say nothing: one only makes an Arabic word wider, one is in brackets below a letter, and two say whether a
character is shown as a picture. The last are apostrophes of Hawaiian, Uzbek and Ukrainian names, which are typed as
that of ASCII."""

DIACRITICS = range(0x300, 0x370)
"""Marks on letters of Latin, Greek and Cyrillic script; those of Hindi and Thai are vowels."""

_POINTS = re.compile(
    "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed]"
)
"""Marks on letters, and points and vowels of Hebrew and Arabic, which are left out as a rule."""

_DRAWN = re.compile("[\u2400-\u243f\u2500-\u259f\u2800-\u28ff\ufffc\ufffd]")
"""Symbols that draw lines, or stand for what cannot be shown."""

_FOREIGN = re.compile("[^\x00-\x7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""What may be written otherwise; of the scripts that most texts of their own consist of nothing is."""

MAX_QUERY_TERMS = 64
"""Terms of one query that reach the lexical index, first come first served; a bound on the cost of a pasted page."""


@attrs.frozen
class Lexical:
    """A text as the lexical index stores it, and how often it has each word, if the store was asked to count them."""

    text: str = ""
    counts: Counter[str] | None = None


def _bigrams(run: str) -> str:
    characters = _characters(run)
    if len(characters) == 1:
        return f" {run} "
    return f" {' '.join(first + second for first, second in pairwise(characters))} "


def _characters(run: str) -> list[str]:
    """Return the letters of a run, each with the marks that are written on it."""
    characters: list[str] = []
    for character in run:
        if characters and unicodedata.category(character).startswith("M"):
            characters[-1] += character
        else:
            characters.append(character)
    return characters


def _with_parts(word: str) -> str:
    return f"{word} {_CAMEL.sub(' ', word)}"


def _folded(content: str) -> str:
    if content.isascii():
        return content
    visible = "".join(character for character in content if unicodedata.category(character) != "Cf")
    return "".join(
        unicodedata.normalize("NFKC", piece) for piece in _normalised_alone(_MARKED.sub(_with_fewer_marks, visible))
    )


@lru_cache(maxsize=4096)
def plainest(character: str) -> str:
    """Return a character as it is looked for: a digit of any script as that of ASCII, a symbol as a word."""
    letter = _LETTERS.get(character)
    if letter is not None:
        return letter
    match unicodedata.category(character):
        case "Nd":
            return str(unicodedata.digit(character))
        case "So" | "Sc" if not _DRAWN.match(character):
            return f" u{ord(character):x} "
        case "Mn" if _POINTS.match(character):
            return ""
    return _without_marks(character)


def _without_marks(character: str) -> str:
    """Return a letter that is none of Latin with marks in lower case and without marks.

    FTS5 folds marks of Latin letters alone, and has not learnt the case of scripts that got capitals after 2012.
    """
    apart = unicodedata.normalize("NFD", character.lower())
    if apart[0].isascii():
        return character
    plain = (_LETTERS.get(each, each) for each in apart if ord(each) not in DIACRITICS)
    return unicodedata.normalize("NFC", "".join(plain))


def _normalised_alone(text: str) -> Iterator[str]:
    """Yield a text in pieces that are normalised as they would be within it."""
    start = 0
    while start < len(text):
        end = start + _STEP
        while end < len(text) and not stands_alone(text[end]):
            end += 1
        yield text[start:end]
        start = end


def is_unspaced(text: str) -> bool:
    """Tell whether a text begins in a script that writes words without spaces between them."""
    return UNSPACED.match(text) is not None


def stands_alone(character: str) -> bool:
    """Tell whether a character, however it is decomposed, begins with one that joins nothing before it."""
    return not unicodedata.category(character).startswith("M") and not _JOINING.match(character)


def is_stream_safe(text: str) -> bool:
    """Tell whether no more than MARKS stand in a row, so that normalising takes time that grows with the length."""
    return text.isascii() or _MARKED.sub(_with_fewer_marks, text) == text


def _with_fewer_marks(run: re.Match[str]) -> str:
    """Return a run of characters without the marks beyond MARKS in a row."""
    if run.end() - run.start() <= MARKS:
        return run.group()
    kept: list[str] = []
    marks = 0
    for character in run.group():
        marks = marks + 1 if _is_mark(character) else 0
        if marks <= MARKS:
            kept.append(character)
    return "".join(kept)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M") or character in "\uff9e\uff9f"


def lexical_document(content: str, *, plain: bool = True) -> str:
    """Return the text as the lexical index stores it; unless `plain`, as versions before did.

    Compatibility forms are folded, digits of all scripts, letters such as \u0142 and \u00df, marks on letters of Greek
    and Cyrillic script, points of Hebrew and Arabic; an emoji or a currency becomes a word. Invisible format
    characters, and marks beyond MARKS in a row, are dropped. Runs of scripts without spaces become overlapping bigrams:
    a single character is found only where it stands alone, every longer word by its bigrams. Compound identifiers are
    followed by their parts, so that they are found by part and by whole; so are hashes by what Git shows of them.
    """
    folded = _folded(content)
    if plain:
        folded = _FOREIGN.sub(lambda found: plainest(found.group()), folded)
        folded = _HASH.sub(r"\g<0> \1", folded)
    spaced = UNSPACED.sub(lambda run: _bigrams(run.group()), folded)
    return _CAMEL_WORD.sub(lambda word: _with_parts(word.group()), spaced)


def _words(text: str) -> list[str]:
    """Return the runs of letters, digits and marks: what the lexical index takes for words."""
    return "".join(character if unicodedata.category(character)[0] in "LNM" else " " for character in text).split()


def query_terms(query: str, *, plain: bool = True) -> list[str]:
    """Return the distinct words of a query, in order, without stop words unless it has nothing else.

    The terms hold letters and digits only, so no character of them can be query syntax. Unless `plain` they are those
    by which versions before have indexed the same words.
    """
    words = list(dict.fromkeys(_words(lexical_document(query, plain=plain).lower())))
    telling = [word for word in words if word not in STOP_WORDS]
    return (telling or words)[:MAX_QUERY_TERMS]


def passage(content: str, occurred_at: datetime | None) -> str:
    """Return the text that stands for a memory in the embedder: the content, after its date where there is one."""
    if occurred_at is None:
        return content
    # In UTC, as it is stored, so that the same memory has the same passage by whichever way it comes.
    day = occurred_at.astimezone(UTC)
    return f"On {day.day} {MONTHS[day.month - 1]} {day.year}, {content}"
