"""Which documents scopes hold, remembered, and what has changed since."""

from array import array
from collections import OrderedDict
from collections.abc import Collection, Sequence
from datetime import datetime

import attrs

from tmws_core.domain.access import Scope, Visibility
from tmws_core.domain.memory import MemoryFilter
from tmws_core.domain.ranking import Hit

LARGEST = 300_000
"""Documents of a scope that is remembered, at most: of larger ones the neighbours of a query are looked at instead."""

TOGETHER = 4_000_000
"""Documents that all scopes together may hold: 32 MB."""

ASKED = 1000
"""Scopes of which is known that they were asked for before."""

CHANGES = 4000
"""Documents that may have changed since a scope was looked at; beyond, it is forgotten."""

LOGGED = 100_000
"""Changes that are kept: 800 KB."""

Wanted = tuple[Visibility, MemoryFilter]
"""What is asked for, whenever it is asked."""


def wanted_by(scope: Scope) -> Wanted:
    """Return what a scope is remembered by."""
    return scope.visibility, scope.filter


@attrs.frozen
class Members:
    """The documents of a scope that have a vector, ascending, as they are until the first of them expires.

    `place` is where the log of changes ended when the store was asked.
    """

    documents: "array[int]"
    until: datetime | None
    place: int

    def changed(self, asked: Collection[int], held: "array[int]", until: datetime | None, place: int) -> "Members":
        """Return what the scope holds after a change: of the documents that were asked for, it has those `held`."""
        # Whoever compares vectors has imported it.
        import numpy as np  # noqa: PLC0415

        former = np.frombuffer(self.documents, np.int64)
        stayed = former[~np.isin(former, np.fromiter(asked, np.int64, len(asked)))]
        documents = array("q", np.sort(np.concatenate([stayed, np.frombuffer(held, np.int64)])).tobytes())
        return Members(documents, min((each for each in (self.until, until) if each), default=None), place)


@attrs.frozen
class Held:
    """What a scope holds: documents with a vector, ascending, and `others`."""

    documents: "array[int]"
    others: frozenset[int]

    @property
    def count(self) -> int:
        """Return how many there are."""
        return len(self.documents) + len(self.others)

    def chosen(self, hits: Sequence[Hit]) -> list[Hit]:
        """Return those of the hits that lie in the scope."""
        import numpy as np  # noqa: PLC0415 - see above

        documents = np.frombuffer(self.documents, np.int64)
        wanted = np.fromiter((hit.document for hit in hits), np.int64, len(hits))
        places = np.searchsorted(documents, wanted)
        found = (documents.take(places, mode="clip") == wanted).tolist() if len(documents) else [False] * len(hits)
        return [hit for hit, here in zip(hits, found, strict=True) if here or hit.document in self.others]


@attrs.define(eq=False)
class Scopes:
    """The scopes that are asked for again and again.

    A change is a document that was added, edited or removed; each scope has to hear of those since it was looked at.
    """

    _log: "array[int]" = attrs.field(factory=lambda: array("q"), init=False)
    _dropped: int = attrs.field(default=0, init=False)
    _members: "OrderedDict[Wanted, Members]" = attrs.field(factory=OrderedDict, init=False)
    _asked: "OrderedDict[Wanted, None]" = attrs.field(factory=OrderedDict, init=False)

    @property
    def place(self) -> int:
        """Where the log ends: what changes from now on comes behind it."""
        return self._dropped + len(self._log)

    def note(self, documents: Collection[int]) -> None:
        """Put changes into the log."""
        self._log.extend(documents)
        surplus = len(self._log) - LOGGED
        if surplus > 0:
            surplus = min(surplus + LOGGED // 2, len(self._log))
            del self._log[:surplus]
            self._dropped += surplus

    def forget(self) -> None:
        """Forget what all scopes hold, and what is being asked for: nobody knows what has changed."""
        self._members.clear()
        self._dropped = self.place + 1
        del self._log[:]

    def wanted_again(self, scope: Scope) -> bool:
        """Tell whether a scope that is not remembered was asked for before."""
        key = wanted_by(scope)
        again = key in self._asked and not scope.historic
        self._asked[key] = None
        self._asked.move_to_end(key)
        if len(self._asked) > ASKED:
            self._asked.popitem(last=False)
        return again

    def find(self, scope: Scope) -> tuple[Members, set[int]] | None:
        """Return what is remembered of a scope, and which documents may have changed since."""
        key = wanted_by(scope)
        members = self._members.get(key)
        if members is None or scope.historic:
            return None
        expired = members.until is not None and members.until <= scope.at and not scope.filter.include_expired
        if expired or members.place < self._dropped or self.place - members.place > CHANGES:
            del self._members[key]
            return None
        self._members.move_to_end(key)
        return members, set(self._log[members.place - self._dropped :])

    def keep(self, scope: Scope, members: Members) -> None:
        """Remember what a scope holds, unless it is too large, or of the past."""
        key = wanted_by(scope)
        self._members.pop(key, None)
        if scope.historic or len(members.documents) > LARGEST:
            return
        self._members[key] = members
        while sum(len(each.documents) for each in self._members.values()) > TOGETHER or len(self._members) > ASKED:
            self._members.popitem(last=False)
