"""What lies outside of a scope has no part in a search: hits, order and scores are those of a store without it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random
from typing import Any

import anyio
import attrs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.contracts.builders import EVERYTHING, NOON, memory, new
from tests.contracts.stores import Fresh, Store
from tmws_adapters.postgres import lexical as postgres_lexical
from tmws_adapters.postgres import samples as postgres_samples
from tmws_adapters.sqlite import lexical as sqlite_lexical
from tmws_adapters.sqlite import matches as sqlite_matches
from tmws_core.domain.access import Scope, Visibility
from tmws_core.domain.memory import AccessLevel, Memory, MemoryFilter, Share

WORDS = ("apples", "pears", "plums", "cherries", "melons", "quinces", "figs")
EVE = Visibility("eve", "acme")
SCOPES = (
    MemoryFilter(),
    MemoryFilter(namespace="acme"),
    MemoryFilter(agent_id="eve"),
    MemoryFilter(session_id="s"),
    MemoryFilter(tags_any=("red",)),
    MemoryFilter(memory_type=None, min_importance=0.5),
)


@attrs.frozen
class Step:
    """What is stored at one point of a world's history; `hidden` from the scope or not."""

    memory: Memory
    hidden: bool


@pytest.fixture(scope="module", params=["as it ships", "with small bounds"])
def bounds(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let a few memories be more than can be counted, sampled and scored at once."""
    with pytest.MonkeyPatch.context() as patch:
        if "small" in request.param:
            for module, names in (
                (sqlite_lexical, {"SCORED": 6, "ENOUGH": 4}),
                (sqlite_matches, {"COUNTED": 3, "SAMPLE": 5}),
                (postgres_lexical, {"SCORED": 6, "ENOUGH": 4, "KNOWN_SHARE": 0.4, "LISTED": 4}),
                (postgres_samples, {"SAMPLE": 5, "TRIED": (5, 8)}),
            ):
                for name, value in names.items():
                    patch.setattr(module, name, value)
        yield


@settings(
    max_examples=12,
    deadline=None,
    # A smaller seed makes no smaller world.
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_search_is_that_of_a_store_without_what_lies_outside(fresh: Fresh, bounds: None, seed: int) -> None:  # noqa: ARG001
    anyio.run(compare, fresh, Random(seed))


async def compare(fresh: Fresh, random: Random) -> None:
    wanted = random.choice(SCOPES)
    scope = Scope(visibility=EVE, filter=wanted, at=NOON)
    steps = [_visible(random, wanted) for _ in range(random.randrange(1, 25))]
    for _ in range(random.randrange(1, 40)):
        steps.insert(random.randrange(len(steps) + 1), _hidden(random))
    queries = [random.sample(WORDS, random.randrange(1, 5)) for _ in range(6)]
    async with stored(fresh, [step for step in steps if not step.hidden]) as store:
        expected = [await answers(store, scope, query) for query in queries]
    async with stored(fresh, steps, lambda store: answers(store, scope, random.choice(queries))) as store:
        assert [await answers(store, scope, query) for query in queries] == expected
        await disturb(store, random, [step.memory for step in steps if step.hidden])
        assert [await answers(store, scope, query) for query in queries] == expected


async def disturb(store: Store, random: Random, hidden: Sequence[Memory]) -> None:
    """Edit and delete what is hidden, and hide some more."""
    for each in random.sample(hidden, len(hidden) // 2):
        async with store.storage.write() as unit:
            former = await unit.memories.get(each.id, EVERYTHING)
            if random.random() < 0.5:
                await unit.changes.delete(former)
            else:
                changed = attrs.evolve(former, content=_text(random), version=2, updated_at=NOON)
                await unit.changes.replace(former, new(changed))
    async with store.storage.write() as unit:
        await unit.changes.add([new(_hidden(random).memory) for _ in range(10)])


@asynccontextmanager
async def stored(
    fresh: Fresh, steps: Sequence[Step], between: Callable[[Store], Awaitable[object]] | None = None
) -> AsyncIterator[Store]:
    """Store a world in parts; what is done `between` them may leave something that is remembered."""
    async with fresh() as store:
        for start in range(0, len(steps), 10):
            async with store.storage.write() as unit:
                await unit.changes.add([new(step.memory) for step in steps[start : start + 10]])
            if between is not None:
                await between(store)
        yield store


async def answers(store: Store, scope: Scope, query: Sequence[str]) -> list[tuple[str, float]]:
    """Return the ids and the scores of two pages' hits."""
    found = []
    for limit in (3, 100):
        hits = await store.lexical.search(scope, query, limit)
        async with store.storage.read() as snapshot:
            memories = await snapshot.memories.of_documents([hit.document for hit in hits], scope)
        found += [(memories[hit.document].id, hit.score) for hit in hits]
    return found


def _visible(random: Random, wanted: MemoryFilter) -> Step:
    owner = random.choice(["eve", "bob"]) if wanted.agent_id is None else "eve"
    others = tuple(Share(f"agent{number}") for number in range(random.randrange(4)))
    level = random.choice([*AccessLevel]) if owner == "eve" else random.choice([*AccessLevel][1:])
    return Step(
        memory(
            agent_id=owner,
            content=_text(random),
            access_level=level,
            shared_with=(Share("eve"), *others) if level is AccessLevel.SHARED else (),
            session_id=random.choice(["s", "t"]) if wanted.session_id is None else "s",
            sequence=random.choice([None, random.randrange(30)]),
            tags=("red",),
            importance=0.5,
        ),
        hidden=False,
    )


def _hidden(random: Random) -> Step:
    """Return a memory that no scope of eve's holds: somebody else's, expired, or superseded."""
    fields = random.choice(
        [
            {"agent_id": "bob", "access_level": AccessLevel.PRIVATE},
            {"agent_id": "bob", "namespace": "globex", "access_level": AccessLevel.TEAM},
            {"agent_id": "bob", "access_level": AccessLevel.SHARED, "shared_with": (Share("alice"),)},
            {"agent_id": "bob", "access_level": AccessLevel.PUBLIC, "expires_at": NOON - timedelta(hours=1)},
            {"agent_id": "eve", "superseded_by": "somebody", "superseded_at": NOON},
        ]
    )
    place = {} if "superseded_at" in fields or "expires_at" in fields else {"session_id": "s", "sequence": 7}
    return Step(memory(content=_text(random), tags=("red",), importance=0.5, **fields, **place), hidden=True)


def _text(random: Random) -> str:
    return " ".join(random.choices(WORDS, [9, 6, 4, 3, 2, 1, 1], k=random.randrange(1, 12)))


OUTSIDE: dict[str, dict[str, Any]] = {
    "somebody else's": {"agent_id": "bob"},
    "of another namespace": {"agent_id": "bob", "namespace": "globex", "access_level": AccessLevel.TEAM},
    "shared with others": {
        "agent_id": "bob",
        "access_level": AccessLevel.SHARED,
        "shared_with": (Share("alice"),),
    },
    "expired": {"agent_id": "eve", "expires_at": NOON},
    "superseded": {"agent_id": "eve", "superseded_by": "somebody", "superseded_at": NOON},
    "filtered out": {"agent_id": "eve", "tags": ()},
}


@pytest.mark.anyio
@pytest.mark.parametrize("writing", [False, True], ids=["in a snapshot", "in a unit of work"])
async def test_documents_outside_of_a_scope_are_not_read(opened: Store, *, writing: bool) -> None:
    inside = memory(agent_id="eve", tags=("red",))
    outside = {reason: memory(**({"tags": ("red",)} | fields)) for reason, fields in OUTSIDE.items()}
    async with opened.storage.write() as unit:
        await unit.changes.add([new(each) for each in (inside, *outside.values())])

    wanted = Scope(visibility=EVE, filter=MemoryFilter(tags_any=("red",)), at=NOON)
    async with opened.storage.write() if writing else opened.storage.read() as reading:
        found = await reading.memories.of_documents(range(99), wanted)

    reasons = {each.id: reason for reason, each in outside.items()}
    assert [reasons.get(each.id, "inside") for each in found.values()] == ["inside"]
