"""What an agent does at random, and what it makes of the answers."""

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from tests.fuzz.messages import Messages
from tests.pathological import texts
from tests.storm.model import HOSTILE, SPACES, Kept, Model, State
from tests.storm.ways import NEVER, Answer, Way
from tmws_core.messages.memory import ALL

PAUSE = 0.03
"""Seconds between two requests of one agent, at most: no more than that is one machine's to give."""

AWAY = 0.5
"""Seconds until a client looks again whether a server is there."""

WHOLE: Mapping[str, Any] = {"max_chars": ALL, "details": True}
"""What a page is to tell, so that all of it is looked at."""

PATHOLOGICAL = texts(4_000)

HUGE = texts(64_000)

OWN = 150
"""Memories of one agent, above which it deletes more than it stores."""

LEVELS = ("private", "private", "team", "shared", "public")

WORDS = ("ferry", "harbour", "quay", "tide", "lantern", "pilot", "anchor", "rope", "gull", "storm")

OTHERS = {agent: [each for each in SPACES if each not in (agent, HOSTILE)] for agent in SPACES}


@attrs.define(eq=False)
class Gate:
    """Lets clients act while it is open, and tells when none acts."""

    _open: threading.Event = attrs.Factory(threading.Event)
    _ended: threading.Event = attrs.Factory(threading.Event)
    _parked: threading.Semaphore = attrs.Factory(lambda: threading.Semaphore(0))

    def open(self) -> None:
        self._open.set()

    def close(self, clients: int, seconds: float) -> int:
        """Let nobody begin anything more, and return how many clients have not come to their end within a time."""
        self._open.clear()
        self._parked = threading.Semaphore(0)
        deadline = time.monotonic() + seconds
        left = clients
        while left and self._parked.acquire(timeout=max(0.0, deadline - time.monotonic())):
            left -= 1
        return left

    def end(self) -> None:
        self._ended.set()
        self._open.set()

    def passes(self) -> bool:
        """Wait while it is closed; false once all is over."""
        if not self._open.is_set():
            self._parked.release()
            self._open.wait()
        return not self._ended.is_set()


@attrs.define(eq=False)
class Agent:
    """One client of an agent; it alone changes the memories that it has stored."""

    way: Way
    model: Model
    chance: random.Random
    mine: list[Kept] = attrs.Factory(list)

    @property
    def name(self) -> str:
        return self.way.agent

    def run(self, gate: Gate) -> None:
        actions: dict[Callable[[], None], int] = {
            self.create: 8,
            self.create_batch: 3,
            self.update: 6,
            self.delete: 3,
            self.share: 4,
            self.get: 5,
            self.search: 6,
            self.browse: 2,
            self.count: 1,
            self.refuse: 1,
        }
        while gate.passes():
            self.mine = [each for each in self.mine if each.certain and each.state and each.memory_id]
            if len(self.mine) > OWN:
                self.delete()
                continue
            [action] = self.chance.choices(list(actions), list(actions.values()))
            action()
            time.sleep(self.chance.uniform(0, PAUSE))

    def ask(self, name: str, *, may_cancel: bool = True, **arguments: Any) -> Answer:
        is_cancelled = may_cancel and self.chance.random() < 0.08
        answer = self.way.ask(name, arguments, self.chance.uniform(0, 0.05) if is_cancelled else None)
        self.model.count("requests")
        if answer.begun:
            self.model.count("answered" if answer.body is not None else "not answered")
        else:
            self.model.count("no server")
            time.sleep(AWAY)
        if answer.code is not None:
            self.model.count(f"error {answer.code}")
        if answer.code in NEVER:
            self.model.violate("refused", f"{name} by {self.name}: {answer.raw[:300]}")
        self.model.check_text(answer.raw, json.dumps(arguments), self.name, answer.began, answer.ended)
        return answer

    def draft(self) -> tuple[str, State]:
        token = self.model.token()
        level = self.chance.choice(LEVELS)
        some = self.chance.sample(OTHERS[self.name], 2)
        readers = frozenset(some if level == "shared" else ())
        return token, State(self.text(token), level, readers, self.tags())

    def text(self, token: str) -> str:
        kind = self.chance.random()
        if kind < 0.1:
            return f"{token} {self.chance.choice(list(PATHOLOGICAL.values()))}"
        return f"{token} v{self.chance.randrange(10**6)} {' '.join(self.chance.choices(WORDS, k=12))}"

    def tags(self) -> tuple[str, ...]:
        return tuple(sorted(self.chance.sample(WORDS, self.chance.randrange(3))))

    def create(self) -> None:
        token, state = self.draft()
        [kept] = self.model.create(self.name, {token: state})
        key: dict[str, Any] = {"idempotency_key": token} if self.chance.random() < 0.5 else {}
        answer = self.ask("create_memory", **wire(state), **key)
        if answer.done is None and key:
            # The first may be stored or not, or still be under way: with its key it is stored once.
            self.model.settle(kept, None)
            answer = self.ask("create_memory", may_cancel=False, **wire(state), **key)
            if answer.done is False:
                return
        self.settle(kept, answer)

    def settle(self, kept: Kept, answer: Answer) -> None:
        self.model.settle(kept, answer.done)
        if answer.done and answer.body is not None:
            self.model.identify(kept, answer.body["memory_id"])
            self.model.count("acknowledged")
            if kept not in self.mine:
                self.mine.append(kept)

    def create_batch(self) -> None:
        drafts = dict(self.draft() for _ in range(self.chance.randrange(2, 12)))
        batch = self.model.create(self.name, drafts)
        answer = self.ask("create_memories", memories=[wire(state) for state in drafts.values()])
        bodies = answer.body["results"] if answer.done and answer.body is not None else [None] * len(batch)
        for kept, body in zip(batch, bodies, strict=True):
            self.settle(kept, attrs.evolve(answer, body=body) if body else answer)

    def pick(self) -> Kept | None:
        return self.chance.choice(self.mine) if self.mine else None

    def update(self) -> None:
        kept = self.pick()
        if kept is None or kept.state is None:
            return
        said: dict[str, Any] = {"tags": self.tags()}
        if self.chance.random() < 0.6:
            said["content"] = self.text(kept.token)
        if self.chance.random() < 0.5:
            said["access_level"] = self.chance.choice(LEVELS)
        changes = {"level" if name == "access_level" else name: value for name, value in said.items()}
        self.change(kept, attrs.evolve(kept.state, **changes), "update_memory", **said)

    def delete(self) -> None:
        kept = self.pick()
        if kept is not None:
            self.change(kept, None, "delete_memory")

    def share(self) -> None:
        kept = self.pick()
        if kept is None or kept.state is None or kept.state.level not in ("private", "shared"):
            return
        other = frozenset([self.chance.choice(OTHERS[self.name])])
        is_listed = other <= kept.state.readers
        readers = kept.state.readers - other if is_listed else kept.state.readers | other
        level = kept.state.level if is_listed else "shared"
        state = attrs.evolve(kept.state, level=level, readers=readers)
        self.change(kept, state, "share_memory", shared_with=list(other), revoke=is_listed)

    def change(self, kept: Kept, state: State | None, name: str, **said: Any) -> None:
        self.model.change(kept, state)
        answer = self.ask(name, memory_id=kept.memory_id, **said)
        if answer.code == "not_found":
            self.model.violate(
                "lost", f"{name} by {self.way!r:.30} of {self.name} does not find {kept}: {answer.raw[:300]}"
            )
        self.settle(kept, answer)

    def get(self) -> None:
        """Ask for a memory, an own one or anybody's."""
        every = self.mine if self.chance.random() < 0.3 else self.known()
        if not every:
            return
        kept = self.chance.choice(every)
        with_history = self.chance.random() < 0.3
        answer = self.ask("get_memory", memory_id=kept.memory_id, include_history=with_history, max_chars=ALL)
        if answer.done and answer.body is not None:
            self.model.check_view(answer.body["memory"], self.name, answer.began, answer.ended)
        elif answer.code == "not_found" and self.model.must_see(kept, self.name, answer.began, answer.ended):
            self.model.violate("lost", f"{self.name} does not get {kept}")

    def known(self) -> list[Kept]:
        owner = self.chance.choice(list(SPACES))
        return self.model.of(owner)

    def search(self) -> None:
        every = self.known()
        if self.chance.random() < 0.3 or not every:
            query = " ".join(self.chance.sample(WORDS, 2))
            if self.chance.random() < 0.1:
                query = self.chance.choice(list(HUGE.values()))
            self.hits(self.ask("search_memories", query=query, limit=30, **WHOLE))
            return
        kept = self.chance.choice(every)
        answer = self.ask("search_memories", query=kept.token, mode="lexical", **WHOLE)
        found = self.hits(answer)
        is_there = self.model.must_see(kept, self.name, answer.began, answer.ended)
        if found is not None and kept.token not in found and is_there:
            self.model.violate("lost", f"{self.name} does not find {kept}")

    def hits(self, answer: Answer) -> set[str | None] | None:
        if not answer.done or answer.body is None:
            return None
        check = self.model.check_view
        return {check(hit, self.name, answer.began, answer.ended) for hit in answer.body["results"]}

    def browse(self) -> None:
        answer = self.ask("list_memories", limit=50, **WHOLE)
        if answer.done and answer.body is not None:
            for view in answer.body["memories"]:
                self.model.check_view(view, self.name, answer.began, answer.ended)

    def count(self) -> None:
        answer = self.ask("get_memory_stats")
        if answer.done and answer.body is not None:
            least, most = self.model.bounds(self.name, answer.began, answer.ended)
            total = answer.body["total"]
            if not least <= total <= most:
                kind = "leaked" if total > most else "lost"
                self.model.violate(kind, f"{self.name} counts {total}, not {least} to {most}")

    def refuse(self) -> None:
        """Send what is refused, and check that it was."""
        wrong: list[tuple[str, dict[str, Any]]] = [
            ("create_memory", {"content": ""}),
            ("create_memory", {"content": "x" * 70_000}),
            ("create_memory", {"content": "x", "tags": [*map(str, range(1000))]}),
            ("create_memory", {"content": "x", "access_level": "system"}),
            ("search_memories", {"query": "x", "limit": -1}),
            ("search_memories", {"query": "x", "cursor": "forged"}),
            ("get_memory", {"memory_id": "no id"}),
            ("list_memories", {"nonsense": {}}),
        ]
        name, arguments = self.chance.choice(wrong)
        if self.ask(name, **arguments).done:
            self.model.violate("refused", f"{name} took {arguments!r:.100}")

    def everything(self) -> None:
        """Check what a list shows when nobody acts."""
        tokens: list[str | None] = []
        cursor: dict[str, Any] = {}
        began = time.monotonic()
        while True:
            answer = self.ask("list_memories", may_cancel=False, limit=100, **WHOLE, **cursor)
            if not answer.done or answer.body is None:
                self.model.violate("stuck", f"{self.name} cannot list: {answer}")
                return
            views = answer.body["memories"]
            tokens += [self.model.check_view(view, self.name, answer.began, answer.ended) for view in views]
            if answer.body.get("next_cursor") is None:
                break
            cursor = {"cursor": answer.body["next_cursor"]}
        self.model.check_all(tokens, self.name, began, time.monotonic())


@attrs.define(eq=False)
class Stranger:
    """Sends nonsense without an end, and knows the ids of all others' memories."""

    way: Way
    model: Model
    chance: random.Random

    def run(self, gate: Gate) -> None:
        while gate.passes():
            ids = [each.memory_id for agent in SPACES for each in self.model.of(agent) if each.memory_id]
            messages = Messages(self.chance, ids[-200:] or ["nothing"])
            frame = messages.frame()
            began = time.monotonic()
            said = self.way.babble(frame)
            self.model.count("nonsense")
            sent = frame.decode("utf-8", "replace")
            self.model.check_text(said, sent, HOSTILE, began, time.monotonic())
            time.sleep(self.chance.uniform(0, PAUSE))


def wire(state: State) -> Mapping[str, Any]:
    return {
        "content": state.content,
        "access_level": state.level,
        "shared_with": sorted(state.readers),
        "tags": list(state.tags),
    }
