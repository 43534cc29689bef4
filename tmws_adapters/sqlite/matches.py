"""What FTS5 knows of words, asked for the members of a scope alone: how often each has a word, and how long it is.

Words that few entries hold are read from its index as they stand there, which takes a quarter of the time of scoring.
Of others, and of phrases, its scores are taken. These tell how many entries of the whole file hold a word, and how long
they are, too; both are divided out.
"""

import sqlite3
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress, filterfalse
from typing import Any

import attrs
import orjson

from tmws_adapters.sql.bm25 import K1, B, idf
from tmws_adapters.sqlite.learnt import Posting
from tmws_adapters.sqlite.scopes import Members

WEIGHTS = "3.0, 1.0, 0.5, 0.0"
"""What a word counts in a memory's own text, in the turn before it, in the one before that, and among its readers."""

STEPS = 2
"""The parts of 1 that these weights are whole numbers of."""

IN_TEXT, IN_PREVIOUS, IN_BEFORE_PREVIOUS = 6, 2, 1
"""The same weights in these parts."""

ENDLESS = "1e30, 1e30, 1e30, 0.0"
"""Weights with which a score is what a word may add at most: its weight, whatever the entries are like."""

TEXTS = "{text previous before_previous}"
"""The columns that the words of a query are looked for in."""

COLUMNS = 4
"""The columns of an entry: three of texts, one of readers."""

COUNTED = 1000
"""Matches up to which a word is counted. One that more of the members hold is estimated by how many of the newest
members these matches are spread over, which is wrong by 3 %."""

SAMPLE = 1000
"""The newest members, whose lengths are averaged: 1 ms whenever the store has changed."""

MOST_SHARE = 0.8
"""A scope with less of the store than this has its matches told apart before FTS5 scores them."""

READ, READ_SHARE = 200, 4
"""Entries of a word that are read at most: so many, and so many times as many as members hold it. Scoring a match takes
as long as reading four, and 100 us before the first."""

REACHED = 50_000
"""Matches that are fetched together at most, where those of the newest members are few: 10 ms."""

_NEWEST = """
    SELECT group_concat(document) FROM (
        SELECT rowid AS document FROM memories_fts
        WHERE memories_fts MATCH :match AND rowid BETWEEN :lowest AND :highest ORDER BY rowid DESC LIMIT :limit
    )
"""
"""One row instead of one for each match: each row would take the interpreter's lock."""

_READ = """
    SELECT group_concat(doc) FILTER (WHERE col = 'text'), group_concat(doc) FILTER (WHERE col = 'previous'),
        group_concat(doc) FILTER (WHERE col = 'before_previous'), count(*)
    FROM (SELECT doc, col FROM temp.memories_fts_instances WHERE term = :token LIMIT :limit)
"""
"""The entries that hold a token, each as often as it does."""

_SHARES = f"""
    SELECT group_concat(document), group_concat(share) FROM (
        SELECT rowid AS document,
            CAST(bm25(memories_fts, {WEIGHTS}) / bm25(memories_fts, {ENDLESS}) * {{parts}} AS INTEGER) AS share
        FROM memories_fts WHERE memories_fts MATCH :match AND rowid BETWEEN :lowest AND :highest AND {{among}}
        ORDER BY rowid DESC LIMIT -1
    )
"""  # noqa: S608 - texts are constants, values are bound
"""How much of what a word may add it adds: frequency / (frequency + K1 * (1 - B + B * tokens / average))."""

PARTS = 1e15
"""The parts of 1 that such shares come in: whole numbers are written in half the time."""

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
    """The matches of words among the members of a scope; `readers` are words of which such entries hold some.

    `tokens` are the tokens of the words.
    """

    connection: sqlite3.Connection
    members: Members
    tokens: Mapping[str, str]
    readers: Sequence[Sequence[str]]

    def count(self, term: str) -> float:
        """Return how many members hold a word; beyond COUNTED about so many."""
        count = self.members.known.counts.get(term)
        if count is None:
            count = self._counted(term)
            self.members.known.count(term, count)
        return count

    def _counted(self, term: str) -> float:
        members = self.members
        # Where only a few entries have the right readers, these are sooner told apart by FTS5.
        posting = None if self.readers or term in members.learnt.many else self.read(term, COUNTED)
        documents = self.newest([term], COUNTED) if posting is None else posting[0]
        if len(documents) < COUNTED:
            return len(documents)
        members.learnt.many.add(term)
        return COUNTED * members.count / members.above(sorted(documents, reverse=True)[COUNTED - 1])

    def newest(self, terms: Sequence[str], limit: int) -> list[int]:
        """Return the `limit` newest members that hold any of the words, newest first."""
        values: dict[str, str | int] = {"match": self._match(terms), "lowest": self.members.first}
        found: list[int] = []
        highest, fetched = self.members.last, limit
        while len(found) < limit:
            documents = self._numbers(_NEWEST, {**values, "highest": highest, "limit": fetched})
            found += self._inside(documents)
            if len(documents) < fetched:
                break
            highest, fetched = documents[-1] - 1, min(4 * fetched, REACHED)
        return found[:limit]

    def scores(self, counts: Mapping[str, float], lowest: int) -> dict[int, float]:
        """Return the scores of the members from the number `lowest` on that hold any of the words, by their counts.

        They are added up in the order of the words, whatever order these come in: so equal ones are equal.
        """
        least, each = STEPS * K1 * (1 - B), STEPS * K1 * B / self._average()
        scores: dict[int, float] = {}
        for term in sorted(counts):
            weight = idf(self.members.count, counts[term]) * (K1 + 1)
            for document, frequency, tokens in zip(*self._posting(term, counts[term], lowest), strict=True):
                score = weight * frequency / (frequency + least + each * tokens)
                scores[document] = scores.get(document, 0.0) + score
        return scores

    def _tokens(self, documents: Iterable[int]) -> Mapping[int, int]:
        """Return how many tokens the texts of these documents have, and of others."""
        tokens = self.members.learnt.tokens
        if unknown := [*filterfalse(tokens.__contains__, documents)]:
            tokens.update((document, texts) for document, texts, _ in self._sizes(unknown))
        return tokens

    def _posting(self, term: str, count: float, lowest: int) -> Posting:
        """Return the members from the number `lowest` on that hold a word, and how often, in STEPS."""
        members = self.members
        limit = READ_SHARE * int(count * members.above(lowest) / members.count)
        # Where members are spread evenly so many entries hold it; reading them in vain takes time as well.
        hopeless = lowest and count * members.last / members.count > READ + limit
        posting = self._learnt(term) if hopeless else self.read(term, limit)
        if posting is None:
            return self.scored(term, lowest)
        if not lowest:
            return posting
        late = [document >= lowest for document in posting[0]]
        documents, frequencies, tokens = (array("q", compress(column, late)) for column in posting)
        return documents, frequencies, tokens

    def read(self, term: str, limit: int) -> Posting | None:
        """Return the members that hold a word as its entries tell, unless it has more than about so many of them."""
        if posting := self._learnt(term):
            return posting
        token = self.tokens[term]
        if not token:
            return None
        values = {"token": token, "limit": READ + limit}
        *columns, read = self.connection.execute(_READ, values).fetchone()
        if read == READ + limit:
            return None
        texts, previous, before_previous = (Counter(self._inside(_listed(each))) for each in columns)
        documents = array("q", {**texts, **previous, **before_previous})
        frequencies = array("q", map(IN_TEXT.__mul__, map(texts.__getitem__, documents)))
        if previous or before_previous:
            for place, document in enumerate(documents):
                frequencies[place] += IN_PREVIOUS * previous[document] + IN_BEFORE_PREVIOUS * before_previous[document]
        posting = documents, frequencies, array("q", map(self._tokens(documents).__getitem__, documents))
        self.members.learnt.keep(term, self.members.last, posting)
        return posting

    def _learnt(self, term: str) -> Posting | None:
        """Return what is known of a word, unless it is of others than the members, or one that came later has it."""
        learnt, last = self.members.learnt, self.members.last
        found = learnt.posting(term)
        if found is None or found[0] > last:
            return None
        until, posting = found
        if until < last:
            values: dict[str, str | int] = {"match": self._match([term]), "lowest": until + 1, "highest": last}
            if self._numbers(_NEWEST, {**values, "limit": 1}):
                return None
            learnt.keep(term, last, posting)
        return posting

    def scored(self, term: str, lowest: int) -> Posting:
        """Return the same as the scores of FTS5 tell, from the number `lowest` on."""
        lowest = max(lowest, self.members.first)
        values: dict[str, str | int] = {"match": self._match([term]), "lowest": lowest, "highest": self.members.last}
        among = "TRUE"
        if not self.readers and self.members.count < MOST_SHARE * self.members.last:
            found = self._inside(self._numbers(_NEWEST, {**values, "limit": -1}))
            among, values["among"] = _AMONG, orjson.dumps(found).decode()
        row = self.connection.execute(_SHARES.format(among=among, parts=PARTS), values).fetchone()
        shares = dict(zip(*map(_listed, row), strict=True))
        mean = self._mean()
        documents, frequencies, tokens = array("q"), array("q"), array("q")
        for document, texts, readers in self._sizes(self._inside([*shares])):
            length = K1 * (1 - B + B * (texts + readers) / mean)
            documents.append(document)
            frequencies.append(round(STEPS * length * shares[document] / (PARTS - shares[document])))
            tokens.append(texts)
        posting = documents, frequencies, tokens
        if lowest <= self.members.first:
            self.members.learnt.keep(term, self.members.last, posting)
        return posting

    def _inside(self, documents: Sequence[int]) -> list[int]:
        """Return those of the documents that are members."""
        return [*compress(documents, map(self.members.marks.__getitem__, documents))]

    def _average(self) -> float:
        """Return how many tokens the newest members have."""
        known = self.members.known
        if not known.average:
            newest = self.members.newest(SAMPLE)
            known.average = max(sum(map(self._tokens(newest).__getitem__, newest)) / max(len(newest), 1), 1.0)
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
