"""Random batches against a small model: what is answered is what is there, and nothing that was said is missing."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, given
from hypothesis import settings as running
from hypothesis import strategies as st

from tests.contracts.ollama_double import OllamaDouble
from tests.licences import UNLIMITED
from tests.stacks import stacked
from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import load_settings
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.errors import KeyConflict, KeyRepeated

PAST = "2021-01-01T00:00:00Z"

DRAFTS = st.fixed_dictionaries(
    {"content": st.sampled_from(["a b", "a  b"])},
    optional={
        "idempotency_key": st.sampled_from(["k1", "k2"]),
        "access_level": st.sampled_from(["private", "team"]),
        "session_id": st.just("s"),
        "tags": st.lists(st.sampled_from(["x", "y"]), max_size=2, unique=True),
        "metadata": st.dictionaries(st.sampled_from(["m", "n"]), st.sampled_from([1, True]), max_size=2),
        "importance": st.sampled_from([0.25, 0.75]),
        "expires_at": st.just(PAST),
    },
)
UNSAID: dict[str, Any] = {"access_level": "private", "tags": [], "metadata": {}}
"""What a request that leaves it out says, too."""

STEPS = st.one_of(
    st.tuples(st.just("create"), st.lists(DRAFTS, min_size=1, max_size=4)),
    st.tuples(st.sampled_from(["delete", "supersede"]), st.integers(0, 3)),
)


@attrs.define(eq=False)
class Expected:
    """A memory of the model; `memory_id` is learnt from the first answer that names it."""

    identity: tuple[Any, ...]
    tags: list[str]
    metadata: dict[str, Any]
    importance: float
    expired: bool
    successor: "Expected | None" = None
    memory_id: str = ""

    @property
    def in_force(self) -> bool:
        return not self.expired and self.successor is None

    def fits(self, draft: dict[str, Any]) -> list[str] | None:
        """Return which fields would be merged, or None if something would get lost."""
        metadata = draft.get("metadata", {})
        if not self.in_force or draft.get("importance", self.importance) != self.importance:
            return None
        if any(repr(self.metadata.get(name, value)) != repr(value) for name, value in metadata.items()):
            return None
        fields = ["tags"] if {*draft.get("tags", ())} - {*self.tags} else []
        fields += ["metadata"] if metadata.keys() - self.metadata.keys() else []
        return fields + (["expires_at"] if "expires_at" in draft else [])

    def take(self, draft: dict[str, Any]) -> None:
        self.tags = [*dict.fromkeys([*self.tags, *draft.get("tags", ())])]
        self.metadata = self.metadata | draft.get("metadata", {})


@attrs.define
class Model:
    """What a store of one agent should hold."""

    memories: list[Expected] = attrs.field(factory=list)
    keys: dict[str, tuple[Expected, str]] = attrs.field(factory=dict)

    def create(self, draft: dict[str, Any]) -> tuple[Expected, bool, list[str]]:
        """Return the memory that answers, whether it is new, and what was merged; KeyError for a conflict."""
        key, said = draft.get("idempotency_key"), json.dumps(UNSAID | draft, sort_keys=True)
        identity = (draft["content"], draft.get("access_level", "private"), draft.get("session_id"))
        if key in self.keys:
            memory, request = self.keys[key]
            if request == said:
                return memory, False, []
            if memory.in_force:
                fields = memory.fits(draft) if memory.identity == identity else None
                if fields is None:
                    raise KeyError(key)
                memory.take(draft)
                return memory, False, fields
        fitting = (
            []
            if "expires_at" in draft
            else [
                (each, fields) for each in self.memories if each.identity == identity for fields in [each.fits(draft)]
            ]
        )
        found = min(((each, fields) for each, fields in fitting if fields is not None), key=_merged, default=None)
        new = found is None
        memory, fields = found or (
            Expected(identity, [], {}, draft.get("importance", 0.5), "expires_at" in draft),
            [],
        )
        if new:
            self.memories.append(memory)
        memory.take(draft)
        if key is not None:
            self.keys[key] = memory, said
        return memory, new, fields

    def delete(self, memory: Expected) -> None:
        """Take a memory away; what it had replaced is in force again, or is replaced by what had replaced it."""
        self.memories.remove(memory)
        for each in self.memories:
            if each.successor is memory:
                each.successor = memory.successor
        self.keys = {key: value for key, value in self.keys.items() if value[0] is not memory}


def _merged(found: tuple[Expected, list[str]]) -> int:
    return len(found[1])


@attrs.frozen
class Subject:
    """The app, and an agent that has stored nothing yet."""

    portal: BlockingPortal
    app: App
    caller: Caller

    def ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return self.portal.call(self.app.call_wire, self.caller, operation, arguments)


@pytest.fixture
def subjects(tmp_path: Path, ollama: OllamaDouble) -> Iterator[Iterator[Subject]]:
    variables = {"TMWS_OLLAMA_BASE_URL": ollama.url, "TMWS_OLLAMA_MODEL": ollama.model, **UNLIMITED}
    settings = load_settings(stacked({"TMWS_HOME": str(tmp_path), **variables}), dotenv=None)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(open_app(settings)) as app:
        yield (Subject(portal, app, Caller(agent_id=f"agent{number}", namespace=f"team{number}")) for number in count())


@running(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=1, max_size=6))
def test_an_answer_names_what_is_there_and_nothing_said_is_missing(
    subjects: Iterator[Subject], steps: list[tuple[str, Any]]
) -> None:
    subject, model = next(subjects), Model()
    for step, what in steps:
        if step == "create":
            create(subject, model, what)
        elif what < len(model.memories):
            memory = model.memories[what]
            if step == "delete":
                subject.ask("delete_memory", memory_id=memory.memory_id)
                model.delete(memory)
            elif memory is not model.memories[-1]:
                subject.ask("update_memory", memory_id=memory.memory_id, superseded_by=model.memories[-1].memory_id)
                memory.successor = model.memories[-1]
        compare(subject, model)


def create(subject: Subject, model: Model, drafts: list[dict[str, Any]]) -> None:
    trial = _copied(model)
    try:
        expected = [trial.create(draft) for draft in drafts]
    except KeyError:
        with pytest.raises((KeyConflict, KeyRepeated)) as conflict:
            subject.ask("create_memories", memories=drafts)
        if isinstance(conflict.value, KeyConflict):
            subject.ask("get_memory", memory_id=conflict.value.memory_id)
        return
    results = subject.ask("create_memories", memories=drafts)["results"]
    for result, (memory, new, merged) in zip(results, expected, strict=True):
        assert result["stored"] is new
        assert sorted(result.get("merged", ())) == sorted(merged)
        assert memory.memory_id in ("", result["memory_id"])
        memory.memory_id = result["memory_id"]
    model.memories, model.keys = trial.memories, trial.keys


def compare(subject: Subject, model: Model) -> None:
    everything = {
        "include_expired": True,
        "include_superseded": True,
        "oldest_first": True,
        "limit": 100,
        "details": True,
    }
    listed = subject.ask("list_memories", **everything)["memories"]
    assert [
        (each["memory_id"], each["content"], each["tags"], repr(sorted(each["metadata"].items())), each["importance"])
        for each in listed
    ] == [
        (each.memory_id, each.identity[0], each.tags, repr(sorted(each.metadata.items())), each.importance)
        for each in model.memories
    ]


def _copied(model: Model) -> Model:
    copies = {id(each): attrs.evolve(each) for each in model.memories}
    for each in copies.values():
        each.successor = each.successor and copies[id(each.successor)]
    return Model([*copies.values()], {key: (copies[id(each)], said) for key, (each, said) in model.keys.items()})
