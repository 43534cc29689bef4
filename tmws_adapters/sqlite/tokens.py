"""What FTS5 makes of a word: the tokens by which its index holds it."""

import sqlite3
import threading
from collections.abc import Iterable

import attrs
import orjson

REMEMBERED, LONGEST = 10_000, 64
"""Words whose token is remembered, and the longest of them: 1 MB."""

_SCHEMA = "SELECT sql FROM main.sqlite_master WHERE name = 'memories_fts'"

_INSERT = "INSERT INTO memories_fts (rowid, text) SELECT key + 1, value FROM json_each(?)"

_TOKENS = "SELECT doc, group_concat(term, ' ') FROM tokens GROUP BY doc"


def _empty() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)


@attrs.define(eq=False)
class Tokens:
    """Words' tokens, from an empty index beside the file's, made as that is; safe for threads.

    So words are cut, folded and stemmed by the same code as the texts, whatever version of SQLite there is. A word by
    itself takes 60 us, and nothing the next time.
    """

    _index: sqlite3.Connection = attrs.field(factory=_empty, init=False)
    _made: bool = attrs.field(default=False, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _known: dict[str, str] = attrs.field(factory=dict, init=False)

    def of(self, connection: sqlite3.Connection, words: Iterable[str]) -> dict[str, str]:
        """Return the token of each word; of one that is several for FTS5, and so a phrase, or none: empty."""
        words = [*words]
        found = {word: token for word in words if (token := self._known.get(word)) is not None}
        unknown = [word for word in words if word not in found]
        if unknown:
            with self._lock:
                found |= self._asked(connection, unknown)
            if len(self._known) > REMEMBERED:
                self._known.clear()
            self._known.update((word, found[word]) for word in unknown if len(word) <= LONGEST)
        return found

    def _asked(self, connection: sqlite3.Connection, words: list[str]) -> dict[str, str]:
        if not self._made:
            self._index.execute(connection.execute(_SCHEMA).fetchone()[0])
            self._index.execute("CREATE VIRTUAL TABLE tokens USING fts5vocab(memories_fts, instance)")
            self._made = True
        self._index.execute("BEGIN")
        try:
            self._index.execute(_INSERT, (orjson.dumps(words).decode(),))
            rows = {place: tokens.split() for place, tokens in self._index.execute(_TOKENS)}
        finally:
            self._index.execute("ROLLBACK")
        return {
            word: tokens[0] if len(tokens := rows.get(place, ())) == 1 else ""
            for place, word in enumerate(words, start=1)
        }

    def close(self) -> None:
        """Close the empty index."""
        self._index.close()
