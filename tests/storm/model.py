"""What a store may hold, by what was sent to it and what was answered; all moments are of `time.monotonic`.

A memory has versions, each with the time in which it may have been the one that is stored: from the sending of the
change that makes it, to the answer to the change that replaces it. One whose change was never answered stays possible
for ever, beside the former one, and the memory is left alone from then on.
"""

import itertools
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

TOKEN = re.compile(r"tok[0-9a-f]+z")
"""The word that a memory keeps through all its changes, and no other has."""

SPACES = {"ada": "acme", "ann": "acme", "bob": "globex", "bea": "globex", "mallory": "nowhere"}
"""The agents, and their namespaces."""

HOSTILE = "mallory"
"""Sends nonsense; what it stores by that nobody keeps account of, but it is private."""

OPERATOR = ""
"""The viewer who sees everything."""

LONGEST = 600.0
"""Seconds after which no request runs that may have seen a former version."""

SHOWN = 60
"""Violations that are told in full."""


@attrs.frozen
class State:
    """A memory as it was sent."""

    content: str = attrs.field(repr=lambda content: repr(content[:40]))
    level: str = "private"
    readers: frozenset[str] = frozenset()
    tags: tuple[str, ...] = ()

    def shown_to(self, owner: str, viewer: str) -> bool:
        if viewer in (OPERATOR, owner):
            return True
        if self.level == "team":
            return SPACES[viewer] == SPACES[owner]
        return self.level == "public" or (self.level == "shared" and viewer in self.readers)

    def is_in(self, view: Mapping[str, Any]) -> bool:
        """Tell whether that is what an answer shows."""
        shown = view["content"], view["access_level"], tuple(view.get("tags", ()))
        return shown == (self.content, self.level, self.tags)


@attrs.define
class Version:
    """A state, None where there is no memory, and when it may have been stored."""

    state: State | None
    since: float
    until: float = math.inf


@attrs.define(eq=False)
class Kept:
    """One memory; `batch` is what is stored with it or not at all."""

    token: str
    owner: str
    versions: list[Version]
    batch: int
    memory_id: str | None = None
    certain: bool = True

    @property
    def state(self) -> State | None:
        """Return the newest state, which is the one that is stored where that is certain."""
        return self.versions[-1].state

    def during(self, began: float, ended: float) -> list[State | None]:
        return [each.state for each in self.versions if each.since <= ended and each.until >= began]


@attrs.define
class Model:
    """Keeps account for all clients, and of what must not be."""

    kept: dict[str, Kept] = attrs.Factory(dict)
    violations: list[str] = attrs.Factory(list)
    counts: Counter[str] = attrs.Factory(Counter)
    _numbers: Iterator[int] = attrs.Factory(itertools.count)
    _lock: threading.RLock = attrs.Factory(threading.RLock)

    def violate(self, kind: str, what: object) -> None:
        """Keep account of what must not be: `lost`, `leaked`, `torn`, `stuck` and the like."""
        with self._lock:
            self.counts[kind] += 1
            self.violations.append(f"{time.monotonic():.2f} {kind}: {what}")

    def count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self.counts[what] += number

    def most(self, what: str, number: int) -> None:
        """Keep the largest of some figures."""
        with self._lock:
            self.counts[what] = max(self.counts[what], number)

    def token(self) -> str:
        return f"tok{next(self._numbers):x}z"

    def create(self, owner: str, states: Mapping[str, State]) -> list[Kept]:
        """Begin to store memories, by token, all of them or none."""
        with self._lock:
            batch = next(self._numbers)
            now = time.monotonic()
            made = [
                Kept(token, owner, [Version(None, -math.inf), Version(state, now)], batch)
                for token, state in states.items()
            ]
            self.kept.update((each.token, each) for each in made)
            return made

    def change(self, kept: Kept, state: State | None) -> None:
        """Begin to change a memory, or to delete it."""
        with self._lock:
            kept.versions.append(Version(state, time.monotonic()))

    def settle(self, kept: Kept, done: bool | None) -> None:  # noqa: FBT001 - what became of it
        """Keep what became of the change that was begun; None where nobody knows."""
        with self._lock:
            if done is None:
                kept.certain = False
            elif done:
                now = time.monotonic()
                for former in kept.versions[:-1]:
                    former.until = min(former.until, now)
                kept.certain = True
                kept.versions = [each for each in kept.versions if each.until > now - LONGEST]
            else:
                kept.versions.pop()

    def identify(self, kept: Kept, memory_id: str) -> None:
        """Keep the id of a memory, which is only one."""
        with self._lock:
            if kept.memory_id is None:
                kept.memory_id = memory_id
            elif kept.memory_id != memory_id:
                self.violate("twice", f"{kept.token} is {kept.memory_id} and {memory_id}")

    def of(self, owner: str) -> list[Kept]:
        """Return the memories of an agent that are known to be there, with their ids."""
        with self._lock:
            own = [each for each in self.kept.values() if each.owner == owner and each.certain]
            return [each for each in own if each.state is not None and each.memory_id is not None]

    def may_see(self, token: str, viewer: str, began: float, ended: float) -> bool:
        with self._lock:
            kept = self.kept.get(token)
            states = [] if kept is None else kept.during(began, ended)
            return any(each is not None and kept is not None and each.shown_to(kept.owner, viewer) for each in states)

    def must_see(self, kept: Kept, viewer: str, began: float, ended: float) -> bool:
        with self._lock:
            states = kept.during(began, ended)
            return all(each is not None and each.shown_to(kept.owner, viewer) for each in states)

    def bounds(self, viewer: str, began: float, ended: float) -> tuple[int, int]:
        """Return how many memories a viewer sees at least and at most."""
        with self._lock:
            every = list(self.kept.values())
            least = sum(self.must_see(each, viewer, began, ended) for each in every)
            return least, sum(self.may_see(each.token, viewer, began, ended) for each in every)

    def check_text(self, text: str, sent: str, viewer: str, began: float, ended: float) -> None:
        """Check that an answer speaks of nothing that its reader may not see; what was sent may come back."""
        for token in set(TOKEN.findall(text)) - set(TOKEN.findall(sent)):
            if not self.may_see(token, viewer, began, ended):
                self.violate("leaked", f"{token} to {viewer}, {self.kept.get(token)}: {text[:300]}")

    def check_view(self, view: Mapping[str, Any], viewer: str, began: float, ended: float) -> str | None:
        """Check that a memory is one that was sent, whole, and may be seen; return its token."""
        found = TOKEN.match(view["content"])
        kept = self.kept.get(found.group()) if found else None
        if kept is None:
            if view["agent_id"] != HOSTILE:
                self.violate("torn", f"nobody sent {view!r:.300}")
            elif viewer not in (HOSTILE, OPERATOR):
                self.violate("leaked", f"{view!r:.300} to {viewer}")
            return None
        with self._lock:
            self.identify(kept, view["memory_id"])
            possible = [each for each in kept.during(began, ended) if each is not None and each.is_in(view)]
            if view["agent_id"] != kept.owner or not possible:
                self.violate("torn", f"{view!r:.400} is not {kept!r}")
            elif not any(each.shown_to(kept.owner, viewer) for each in possible):
                self.violate("leaked", f"{view!r:.400} to {viewer}: {kept!r}")
        return kept.token

    def check_all(self, tokens: Iterable[str | None], viewer: str, began: float, ended: float) -> None:
        """Check that these are all memories that a viewer sees; batches are there as a whole or not at all."""
        seen = [token for token in tokens if token is not None]
        present = set(seen)
        if len(seen) != len(present):
            self.violate("twice", f"{[token for token, number in Counter(seen).items() if number > 1]} for {viewer}")
        with self._lock:
            for kept in self.kept.values():
                if kept.token not in present and self.must_see(kept, viewer, began, ended):
                    self.violate("lost", f"{kept!r} for {viewer}")
            if viewer == OPERATOR:
                self._check_batches(present)

    def _check_batches(self, present: set[str]) -> None:
        batches: dict[int, set[bool]] = {}
        for kept in self.kept.values():
            # Only what has never been changed tells of its batch; an uncertain one has these two versions.
            if not kept.certain and len(kept.versions) == 2 and kept.versions[0].state is None:
                batches.setdefault(kept.batch, set()).add(kept.token in present)
        for batch, answers in batches.items():
            if len(answers) > 1:
                self.violate("torn", f"batch {batch} is there in part")

    def report(self) -> str:
        lines = [f"{name}: {number}" for name, number in sorted(self.counts.items())]
        return "\n".join([*lines, f"violations: {len(self.violations)}", *self.violations[:SHOWN]])
