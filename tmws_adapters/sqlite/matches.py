"""What FTS5 knows of words, asked for the members of a scope alone.

Its own scores tell how many entries of the whole file hold a word, and how long they are. Both are divided out here:
what is left is how often a text has a word.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import orjson

from tmws_adapters.sql.bm25 import K1, B, idf
from tmws_adapters.sqlite.scopes import Members

WEIGHTS = "3.0, 1.0, 0.5, 0.0"
"""What a word counts in a memory's own text, in the turn before it, in the one before that, and among its readers."""

STEPS = 2
"""The parts of 1 that these weights are whole numbers of."""

ENDLESS = "1e30, 1e30, 1e30, 0.0"
"""Weights with which a score is what a word may add at most: its weight, whatever the entries are like."""

TEXTS = "{text previous before_previous}"
"""The columns that the words of a query are looked for in."""

COLUMNS = 4
"""The columns of an entry: three of texts, one of readers."""

COUNTED = 1000
"""Matches up to which a word is counted. One that more of the members hold is estimated by how many of the newest
members these matches are spread over, which is wrong by 3 %."""

REMEMBERED, LONGEST = 10_000, 64
"""Words whose count is remembered for a scope, and the longest of them: about 1 MB."""

SAMPLE = 1000
"""The newest members, whose lengths are averaged: 1 ms whenever the store has changed."""

MOST_SHARE = 0.8
"""A scope with less of the store than this has its matches told apart before they are looked at."""

REACHED = 50_000
"""Matches that are fetched together at most, where those of the newest members are few: 10 ms."""

_NEWEST = """
    SELECT group_concat(document) FROM (
        SELECT rowid AS document FROM memories_fts
        WHERE memories_fts MATCH :match AND rowid BETWEEN :lowest AND :highest ORDER BY rowid DESC LIMIT :limit
    )
"""
"""One row instead of one for each match: each row would take the interpreter's lock."""

_SHARES = f"""
    SELECT group_concat(document), group_concat(share) FROM (
        SELECT rowid AS document, bm25(memories_fts, {WEIGHTS}) / bm25(memories_fts, {ENDLESS}) AS share
        FROM memories_fts WHERE memories_fts MATCH :match AND rowid BETWEEN :lowest AND :highest AND {{among}}
        ORDER BY rowid DESC LIMIT -1
    )
"""  # noqa: S608 - texts are constants, values are bound
"""How much of what a word may add it adds: frequency / (frequency + K1 * (1 - B + B * tokens / average))."""

_AMONG = "+rowid IN (SELECT value FROM json_each(:among))"
"""Which matches are looked at; with the plus FTS5 does not look each of them up by itself."""

_SIZES = """
    SELECT group_concat(id), group_concat(hex(sz)) FROM memories_fts_docsize
    WHERE id IN (SELECT value FROM json_each(:documents))
"""

_AVERAGES = "SELECT block FROM memories_fts_data WHERE id = 1"
"""How many entries there are, and how many tokens each column of them has (fts5_index.c, FTS5_AVERAGES_ROWID)."""


_BITS, _MORE = 7, 0x80
"""The bits of a number that a byte holds, and the one that says that more of it follow."""


@attrs.frozen
class Matches:
    """The matches of words among the members of a scope; `readers` are words of which such entries hold some."""

    connection: sqlite3.Connection
    members: Members
    readers: Sequence[Sequence[str]]

    def count(self, term: str) -> float:
        """Return how many members hold a word; beyond COUNTED about so many."""
        known = self.members.known.counts
        count = known.get(term)
        if count is None:
            newest = self.newest([term], COUNTED)
            few = len(newest) < COUNTED
            count = len(newest) if few else COUNTED * self.members.count / self.members.above(newest[-1])
            if len(term) <= LONGEST and len(known) < REMEMBERED:
                known[term] = count
        return count

    def newest(self, terms: Sequence[str], limit: int) -> list[int]:
        """Return the `limit` newest members that hold any of the words, newest first."""
        marks = self.members.marks
        values: dict[str, str | int] = {"match": self._match(terms), "lowest": self.members.first}
        found: list[int] = []
        highest, fetched = self.members.last, limit
        while len(found) < limit:
            documents = self._numbers(_NEWEST, {**values, "highest": highest, "limit": fetched})
            found += [document for document in documents if marks[document]]
            if len(documents) < fetched:
                break
            highest, fetched = documents[-1] - 1, min(4 * fetched, REACHED)
        return found[:limit]

    def scores(self, counts: Mapping[str, float], lowest: int) -> dict[int, float]:
        """Return the scores of the members from the number `lowest` on that hold any of the words, by their counts."""
        shares = {term: self._shares(term, lowest) for term in counts}
        documents = {document for found in shares.values() for document, _ in found}
        lengths = self._lengths(documents)
        count = self.members.count
        scores = dict.fromkeys(documents, 0.0)
        for term, found in shares.items():
            weight = idf(count, counts[term]) * (K1 + 1)
            for document, share in found:
                whole, own = lengths[document]
                frequency = round(whole * share / (1 - share) * STEPS) / STEPS
                scores[document] += weight * frequency / (frequency + own)
        return scores

    def _lengths(self, documents: Iterable[int]) -> dict[int, tuple[float, float]]:
        """Return the part of BM25 that comes from the length of documents: as FTS5 has it, and as the members do."""
        mean, average = self._mean(), self._average()
        least, whole, own = K1 * (1 - B), K1 * B / mean, K1 * B / average
        return {
            document: (least + whole * (texts + readers), least + own * texts)
            for document, texts, readers in self._sizes(documents)
        }

    def _shares(self, term: str, lowest: int) -> list[tuple[int, float]]:
        marks = self.members.marks
        lowest = max(lowest, self.members.first)
        values: dict[str, str | int] = {"match": self._match([term]), "lowest": lowest, "highest": self.members.last}
        among = "TRUE"
        if not self.readers and self.members.count < MOST_SHARE * self.members.last:
            found = [document for document in self._numbers(_NEWEST, {**values, "limit": -1}) if marks[document]]
            among, values["among"] = _AMONG, orjson.dumps(found).decode()
        documents, shares = self.connection.execute(_SHARES.format(among=among), values).fetchone()
        pairs = zip(_listed(documents), _listed(shares), strict=True)
        return [(document, share) for document, share in pairs if marks[document]]

    def _average(self) -> float:
        """Return how many tokens the newest members have."""
        known = self.members.known
        if not known.average:
            tokens = [texts for _, texts, _ in self._sizes(self.members.newest(SAMPLE))]
            known.average = max(sum(tokens) / max(len(tokens), 1), 1.0)
        return known.average

    def _mean(self) -> float:
        """Return how many tokens FTS5 thinks that an entry of the whole file has."""
        entries, *tokens = _varints(self.connection.execute(_AVERAGES).fetchone()[0])
        return sum(tokens) / entries

    def _sizes(self, documents: Iterable[int]) -> Iterator[tuple[int, int, int]]:
        """Yield documents with the tokens of their texts, and of their readers."""
        values = {"documents": orjson.dumps([*documents]).decode()}
        numbers, sizes = self.connection.execute(_SIZES, values).fetchone()
        found = _listed(numbers)
        data = bytes.fromhex((sizes or "").replace(",", ""))
        # As a rule no column has more than 127 tokens, and its number is one byte.
        columns = data if len(data) == COLUMNS * len(found) else [*_varints(data)]
        text, previous, before_previous, readers = (columns[place::COLUMNS] for place in range(COLUMNS))
        return zip(found, map(sum, zip(text, previous, before_previous, strict=True)), readers, strict=True)

    def _numbers(self, sql: str, values: dict[str, str | int]) -> list[int]:
        return _listed(self.connection.execute(sql, values).fetchone()[0])

    def _match(self, terms: Sequence[str]) -> str:
        """Return the FTS5 expression for any of the terms in the texts, and for one word of each list of readers."""
        parts = [f"{TEXTS} : ({_any_of(terms)})", *(f"readers : ({_any_of(words)})" for words in self.readers)]
        return " AND ".join(parts)


def _any_of(terms: Sequence[str]) -> str:
    quoted = (term.replace('"', '""') for term in terms)
    return " OR ".join(f'"{term}"' for term in quoted)


def _listed(text: str | None) -> list[Any]:
    found: list[Any] = orjson.loads(f"[{text or ''}]")
    return found


def _varints(data: bytes) -> Iterator[int]:
    """Yield the numbers that SQLite has written, none of them of more than eight bytes."""
    number = 0
    for byte in data:
        number = number << _BITS | byte & ~_MORE
        if not byte & _MORE:
            yield number
            number = 0
