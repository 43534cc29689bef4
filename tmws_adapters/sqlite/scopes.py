"""Which documents a scope holds, kept for as long as it cannot have changed."""

import sqlite3
import threading
from array import array
from collections import OrderedDict

import attrs
import orjson

from tmws_adapters.sqlite.predicate import inside
from tmws_adapters.sqlite.times import microseconds
from tmws_core.domain.access import Scope, Visibility
from tmws_core.domain.memory import MemoryFilter

KEPT_SCOPES = 16
"""Scopes whose documents are kept: 13 MB if each holds 100,000."""

_BOUNDS = """
    SELECT
        max(
            coalesce((SELECT max(created_at) FROM memories_v2 WHERE created_at <= :at), -9223372036854775808),
            coalesce((SELECT max(expires_at) FROM memories_v2 WHERE expires_at <= :at), -9223372036854775808),
            coalesce((SELECT max(superseded_at) FROM memories_v2 WHERE superseded_at <= :at), -9223372036854775808)
        ),
        min(
            coalesce((SELECT min(created_at) FROM memories_v2 WHERE created_at > :at), 9223372036854775807),
            coalesce((SELECT min(expires_at) FROM memories_v2 WHERE expires_at > :at), 9223372036854775807),
            coalesce((SELECT min(superseded_at) FROM memories_v2 WHERE superseded_at > :at), 9223372036854775807)
        )
"""
"""Since when and until when no memory begins or ceases to be in force."""


@attrs.frozen(kw_only=True)
class _Answer:
    changes: int
    since: int
    until: int
    documents: "array[int]"

    def holds(self, changes: int, at: int) -> bool:
        return changes == self.changes and self.since <= at < self.until


@attrs.define(eq=False)
class Scopes:
    """Answers for the scopes asked for last; safe for threads, and right whichever process writes.

    Only for committed states: the count of changes of a transaction that is rolled back is counted again.
    """

    _answers: "OrderedDict[tuple[Visibility, MemoryFilter, bool], _Answer]" = attrs.field(
        factory=OrderedDict, init=False
    )
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def documents(self, connection: sqlite3.Connection, scope: Scope) -> "array[int]":
        """Return the documents of a scope."""
        key, at = (scope.visibility, scope.filter, scope.historic), microseconds(scope.at)
        (changes,) = connection.execute("SELECT changes FROM document_numbers").fetchone()
        with self._lock:
            kept = self._answers.get(key)
            if kept is not None and kept.holds(changes, at):
                self._answers.move_to_end(key)
                return kept.documents[:]
        documents = find_documents(connection, scope)
        since, until = connection.execute(_BOUNDS, {"at": at}).fetchone()
        answer = _Answer(changes=changes, since=since, until=until, documents=documents)
        with self._lock:
            self._answers[key] = answer
            self._answers.move_to_end(key)
            if len(self._answers) > KEPT_SCOPES:
                self._answers.popitem(last=False)
        return documents[:]


def find_documents(connection: sqlite3.Connection, scope: Scope) -> "array[int]":
    """Return the documents of a scope that have a vector, ascending.

    20,000 memories, all visible: 2.9 ms as one text, 6.2 ms as rows; a third of them by mixed access rules: 3.1 and
    4.5 ms. The index holds all that a scope asks for; without it the same takes 6.5 and 7.2 ms.
    """
    part = inside(scope)
    sql = f"""
        SELECT group_concat(document) FROM (
            SELECT m.document FROM memories_v2 AS m INDEXED BY memories_v2_scope
            WHERE m.model IS NOT NULL AND {part.sql} ORDER BY m.document
        )
    """  # noqa: S608 - texts are constants, values are bound
    (numbers,) = connection.execute(sql, part.values).fetchone()
    return array("q", orjson.loads(f"[{numbers or ''}]"))
