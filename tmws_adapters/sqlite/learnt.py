"""What searches have learnt of the entries of a scope's members, kept so that the next ones need not ask again."""

import threading
from array import array

import attrs

ENTRIES, WORD = 60_000, 10
"""Entries of words that are kept for a scope, and as how many of them a word counts by itself: 1.4 MB."""

REMEMBERED, LONGEST = 10_000, 64
"""Words whose count is remembered for a scope, and the longest of them: about 1 MB."""

Posting = tuple["array[int]", "array[int]", "array[int]"]
"""The members that hold a word, how often each does, and how many tokens each has."""


@attrs.define(eq=False)
class Known:
    """How many of the members hold a word, and how many tokens the newest of them have."""

    counts: dict[str, float] = attrs.field(factory=dict)
    average: float = 0.0

    def count(self, word: str, count: float) -> None:
        """Remember how many hold a word."""
        if len(word) <= LONGEST and len(self.counts) < REMEMBERED:
            self.counts[word] = count


@attrs.define(eq=False)
class Learnt:
    """The members that hold a word, up to a document, and how many tokens members have; safe for threads.

    It holds for as long as memories are only added, and lend their words to nothing that was there before. The words
    that were read last are the ones that stay; `many` are some that more members hold than are read.
    """

    tokens: dict[int, int] = attrs.field(factory=dict)
    many: set[str] = attrs.field(factory=set)
    _postings: dict[str, tuple[int, Posting]] = attrs.field(factory=dict, init=False)
    _entries: int = attrs.field(default=0, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def posting(self, word: str) -> tuple[int, Posting] | None:
        """Return which members hold a word, and the document up to which that is known."""
        return self._postings.get(word)

    def keep(self, word: str, last: int, posting: Posting) -> None:
        """Remember which members hold a word, up to the document `last`."""
        if len(word) > LONGEST:
            return
        with self._lock:
            self._drop(word)
            self._postings[word] = last, posting
            self._entries += WORD + len(posting[0])
            while self._entries > ENTRIES:
                self._drop(next(iter(self._postings)))

    def _drop(self, word: str) -> None:
        former = self._postings.pop(word, None)
        if former is not None:
            self._entries -= WORD + len(former[1][0])
