"""The words that a lexical text is found by: those that FTS5 takes from it with `porter unicode61`."""

import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

from Stemmer import Stemmer

from tmws_core.aside import each_aside
from tmws_core.domain.text import DIACRITICS

LONGEST = 63
"""Bytes of a word that are kept, and stemmed; more are no word of a language, and an index entry has its limits."""

READ = 512
"""Characters of a word that are looked at: eight for each byte that is kept, since marks are dropped."""

SHORTEST_STEMMED = 3
"""Bytes that a word needs to be stemmed, as in FTS5."""

STEMS = 50_000
"""Words whose stem is remembered: about 8 MB; finding one anew takes 4 us."""

_LATER = re.compile(r"(?<=.)(log|bl)i$")
"""Endings that Porter's algorithm got later, as in "technology" and "possibly"; FTS5 has them."""


class _Stemmers(threading.local):
    """A stemmer for each thread: it keeps the word that it works on, and two threads would mix theirs."""

    def __init__(self) -> None:
        self.porter = Stemmer("porter", 0)  # stems are remembered here, for all threads


_stemmers = _Stemmers()


def words_of(text: str) -> list[str]:
    """Return the words of a text in order, stemmed."""
    kept = "".join(character if _is_part(character) else " " for character in text)
    return [found for word in kept.split() if (found := stem(word[:READ]))]


def counts_of(text: str) -> Counter[str]:
    """Return how often a text has each word."""
    return Counter(words_of(text))


async def count_words(texts: Sequence[str]) -> list[Counter[str]]:
    """Return how often each of the texts has each word; what is long is counted in worker threads."""
    return await each_aside(counts_of, texts, patient=True)


def stems(terms: Iterable[str]) -> list[str]:
    """Return the distinct stems of the words of a query, in order."""
    return list(dict.fromkeys(stem for term in terms for stem in words_of(term)))


@lru_cache(maxsize=STEMS)
def stem(word: str) -> str:
    """Return what a word in any case, with or without accents, is found by."""
    folded = "".join(
        character for character in unicodedata.normalize("NFD", word.lower()) if ord(character) not in DIACRITICS
    )
    plain = unicodedata.normalize("NFC", folded)
    while len(plain.encode()) > LONGEST:
        plain = plain[: LONGEST if len(plain) > LONGEST else -1]
    if len(plain.encode()) < SHORTEST_STEMMED:
        return plain
    return _LATER.sub(r"\1", _stemmers.porter.stemWord(plain))


@lru_cache(maxsize=4096)
def _is_part(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LN" or category in {"Co", "Mn", "Mc"}
