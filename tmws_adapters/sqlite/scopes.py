"""Which documents a scope holds, kept for as long as it cannot have changed."""

import sqlite3
import threading
from array import array
from collections import OrderedDict
from itertools import compress

import attrs
import orjson

from tmws_adapters.sqlite.learnt import Known, Learnt
from tmws_adapters.sqlite.models import active_model
from tmws_adapters.sqlite.predicate import inside
from tmws_adapters.sqlite.times import microseconds
from tmws_core.domain.access import Scope, Visibility
from tmws_core.domain.embedding import EmbeddingModel
from tmws_core.domain.memory import MemoryFilter

KEPT_SCOPES = 16
"""Scopes whose documents are kept: 15 MB if each holds 100,000."""

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


@attrs.frozen
class Members:
    """The documents that a scope holds, of which `embedded` have a vector of `model`; `marks` has a 1 at each place.

    What is `known` of them holds as long as they do: whatever is written to the store makes other members. What is
    `learnt` of them holds for those that join them as well.
    """

    embedded: "array[int]"
    model: EmbeddingModel | None
    marks: bytes
    count: int
    known: Known = attrs.field(factory=Known, eq=False)
    learnt: Learnt = attrs.field(factory=Learnt, eq=False)

    @property
    def first(self) -> int:
        """The lowest number of a member."""
        return self.marks.find(1)

    @property
    def last(self) -> int:
        """The highest number that any document of the store has had."""
        return len(self.marks) - 1

    def above(self, document: int) -> int:
        """Return how many members have this number or a higher one."""
        return self.marks.count(1, document)

    def newest(self, limit: int) -> list[int]:
        """Return the `limit` members with the highest numbers."""
        found: list[int] = []
        end = len(self.marks)
        while len(found) < limit and end > 0:
            start = max(end - 2 * limit, 0)
            part = range(end - 1, start - 1, -1)
            found += compress(part, map(self.marks.__getitem__, part))
            end = start
        return found[:limit]

    @classmethod
    def none(cls) -> "Members":
        """Return the members of an empty scope."""
        return cls(array("q"), None, b"", 0)

    def joined_by(
        self, embedded: "array[int]", others: "array[int]", last: int, model: EmbeddingModel | None
    ) -> "Members":
        """Return these members and some with higher numbers; `last` is the highest there is."""
        marks = bytearray(last + 1)
        marks[: len(self.marks)] = self.marks
        for documents in (embedded, others):
            for document in documents:
                marks[document] = 1
        return Members(
            self.embedded + embedded,
            model,
            bytes(marks),
            self.count + len(embedded) + len(others),
            learnt=self.learnt,
        )


@attrs.frozen(kw_only=True)
class _State:
    """The store as the counts of `document_numbers` tell it: states with the same `edits` differ in additions only."""

    last: int
    edits: int

    @classmethod
    def of(cls, connection: sqlite3.Connection) -> "_State":
        last, edits = connection.execute("SELECT last, edits FROM document_numbers").fetchone()
        return cls(last=last, edits=edits)


@attrs.frozen(kw_only=True)
class _Answer:
    state: _State
    since: int
    until: int
    members: Members

    def holds(self, state: _State, at: int) -> bool:
        """Tell whether the scope has gained nothing but additions since."""
        return state.edits == self.state.edits and state.last >= self.state.last and self.since <= at < self.until


@attrs.define(eq=False)
class _Place:
    """Where the answer for one scope is kept, and who waits for it."""

    lock: threading.Lock = attrs.field(factory=threading.Lock)
    answer: _Answer | None = None


@attrs.define(eq=False)
class Scopes:
    """Answers for the scopes asked for last; safe for threads, and right whichever process writes.

    Only for committed states: the counts of a transaction that is rolled back are counted again.
    """

    _places: "OrderedDict[tuple[Visibility, MemoryFilter, bool], _Place]" = attrs.field(factory=OrderedDict, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def members(self, connection: sqlite3.Connection, scope: Scope) -> Members:
        """Return what a scope holds; after additions only these are looked at."""
        state, at = _State.of(connection), microseconds(scope.at)
        place = self._place(scope)
        with place.lock:
            kept = place.answer
            if kept is None or not kept.holds(state, at):
                members = find_members(connection, scope, state.last)
            elif kept.state == state:
                return kept.members
            else:
                members = find_members(connection, scope, state.last, kept.members, behind=kept.state.last)
            since, until = connection.execute(_BOUNDS, {"at": at}).fetchone()
            place.answer = _Answer(state=state, since=since, until=until, members=members)
            return members

    def _place(self, scope: Scope) -> _Place:
        key = (scope.visibility, scope.filter, scope.historic)
        with self._lock:
            place = self._places.setdefault(key, _Place())
            self._places.move_to_end(key)
            if len(self._places) > KEPT_SCOPES:
                self._places.popitem(last=False)
            return place


def members_now(connection: sqlite3.Connection, scope: Scope) -> Members:
    """Return what a scope holds as the connection's transaction sees it, committed or not."""
    return find_members(connection, scope, _State.of(connection).last)


def find_members(
    connection: sqlite3.Connection, scope: Scope, last: int, former: Members | None = None, behind: int = 0
) -> Members:
    """Return the former members and those with a number above `behind`; `last` is the highest number there is.

    20,000 memories, all visible: 2.9 ms as one text, 6.2 ms as rows; a third of them by mixed access rules: 3.1 and
    4.5 ms. The index holds all that a scope asks for; without it the same takes 6.5 and 7.2 ms.
    """
    part = inside(scope)
    sql = f"""
        SELECT
            group_concat(document) FILTER (WHERE model IS NOT NULL), group_concat(document) FILTER (WHERE model IS NULL)
        FROM (
            SELECT m.document, m.model FROM memories_v2 AS m INDEXED BY memories_v2_scope
            WHERE m.document > :behind AND {part.sql} ORDER BY m.document
        )
    """  # noqa: S608 - texts are constants, values are bound
    embedded, others = connection.execute(sql, {**part.values, "behind": behind}).fetchone()
    active = active_model(connection)
    model = None if active is None else active[1].model
    return (former or Members.none()).joined_by(_numbers(embedded), _numbers(others), last, model)


def _numbers(text: str | None) -> "array[int]":
    return array("q", orjson.loads(f"[{text or ''}]"))
