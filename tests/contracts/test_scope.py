"""A store's predicate has no other meaning than the policy: what a scope holds, by every way of reading."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import anyio
import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contracts.builders import MODEL, NOON, new, vector
from tests.contracts.stores import Fresh, Store
from tests.domain.memories import agent_ids, callers, memories, namespaces
from tmws_core.domain.access import Scope, visibility_of
from tmws_core.domain.agent import OPERATOR_PERMISSIONS, Caller
from tmws_core.domain.memory import AccessLevel, Memory, MemoryFilter, MemoryType
from tmws_core.errors import MemoryNotFound

moments = st.integers(-3, 3).map(lambda minutes: NOON + timedelta(minutes=minutes))
optional_moments = st.none() | moments
tags = st.lists(st.sampled_from(["red", "green", 'b"l\\ue']), max_size=3, unique=True).map(tuple)
sessions = st.sampled_from(["s1", "s2"])
fractions = st.sampled_from([0.0, 0.3, 0.30000000000000004, 1.0])

populations = st.lists(
    st.builds(
        attrs.evolve,
        memories,
        importance=fractions,
        tags=tags,
        session_id=st.none() | sessions,
        occurred_at=optional_moments,
        expires_at=optional_moments,
        superseded_at=optional_moments,
        created_at=moments,
    ),
    max_size=20,
    unique_by=lambda memory: memory.id,
)

FILTERS = {
    "namespace": namespaces,
    "agent_id": agent_ids,
    "memory_type": st.sampled_from(MemoryType),
    "tags_any": tags,
    "tags_all": tags,
    "session_id": sessions,
    "occurred_after": moments,
    "occurred_before": moments,
    "created_after": moments,
    "created_before": moments,
    "min_importance": fractions,
    "include_expired": st.booleans(),
    "include_superseded": st.booleans(),
}

filters = st.lists(st.sampled_from(list(FILTERS)), max_size=3, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: FILTERS[name] for name in names}).map(
        lambda values: MemoryFilter(**values)
    )
)

scopes = st.builds(Scope, visibility=callers.map(visibility_of), filter=filters, at=moments, historic=st.booleans())

OPERATOR = Caller(agent_id="operator", namespace="acme", permissions=OPERATOR_PERMISSIONS)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(population=populations, scope=scopes, times=st.lists(moments, min_size=2, max_size=8))
def test_an_answer_is_right_at_every_time_it_is_asked_for(
    fresh: Fresh, population: list[Memory], scope: Scope, times: list[datetime]
) -> None:
    anyio.run(check_times, fresh, population, [attrs.evolve(scope, at=at) for at in times])


async def check_times(fresh: Fresh, population: list[Memory], scopes: list[Scope]) -> None:
    async with open_filled(fresh, population) as store:
        for scope in scopes:
            assert await by_document(store, scope) == {each.id for each in population if inside(scope, each)}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    population=populations,
    asked=st.lists(scopes, min_size=1, max_size=3),
    steps=st.lists(st.tuples(st.sampled_from(["add", "delete", "change", "embed"]), st.integers(0, 99)), max_size=8),
)
def test_an_answer_follows_additions_and_edits(
    fresh: Fresh, population: list[Memory], asked: list[Scope], steps: list[tuple[str, int]]
) -> None:
    anyio.run(check_steps, fresh, population, asked, steps)


async def check_steps(fresh: Fresh, population: list[Memory], asked: list[Scope], steps: list[tuple[str, int]]) -> None:
    """Take one step after the other, each on a memory that the number chooses, and ask every scope after each."""
    waiting = population[len(population) // 2 :]
    async with open_filled(fresh, population[: len(population) // 2]) as store:
        present = {each.id: each for each in population[: len(population) // 2]}
        for step, number in [("ask", 0), *steps]:
            if step == "add" and waiting:
                added = waiting.pop()
                present[added.id] = added
                async with store.storage.write() as unit:
                    await unit.changes.add([new(added, vector=vector(0, 1, 0, 0) if number % 2 else None)])
            elif step in {"delete", "change"} and present:
                chosen = present.pop(sorted(present)[number % len(present)])
                async with store.storage.write() as unit:
                    former = await unit.memories.get(chosen.id, visibility_of(OPERATOR))
                    if step == "delete":
                        await unit.changes.delete(former)
                    else:
                        text, version = f"Vault {number % 3}", former.version + 1
                        changed = attrs.evolve(former, access_level=AccessLevel.PRIVATE, content=text, version=version)
                        await unit.changes.replace(former, new(changed, vector=vector(0, 0, 1, 0)))
                        present[chosen.id] = changed
            elif step == "embed":
                async with store.storage.write() as unit:
                    bare = {each.document: vector(1, 1, 0, 0) for each in await unit.memories.unembedded(99)}
                    await unit.changes.put_vectors(bare)
            for scope in asked:
                expected = {each.id for each in present.values() if inside(scope, each)}
                assert await by_word(store, scope) == expected
                assert await embedded(store, scope) <= expected


async def embedded(store: Store, scope: Scope) -> set[str]:
    """Return what the index of vectors is asked for, and check that nothing else of the scope has a vector."""
    async with store.storage.read() as snapshot:
        documents = (await snapshot.memories.searchable(scope)).documents
        found = await snapshot.memories.of_documents(range(1, 999), scope)
    assert documents.tolist() == sorted(number for number, each in found.items() if each.embedded)
    return {found[document].id for document in documents}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(population=populations, scope=scopes)
def test_every_way_of_reading_agrees_with_the_policy(fresh: Fresh, population: list[Memory], scope: Scope) -> None:
    anyio.run(check, fresh, population, scope)


async def check(fresh: Fresh, population: list[Memory], scope: Scope) -> None:
    async with open_filled(fresh, population) as store:
        expected = {each.id for each in population if inside(scope, each)}
        assert await by_page(store, scope) == expected
        assert await by_document(store, scope) == expected
        assert await by_word(store, scope) == expected
        visible = {each.id for each in population if scope.visibility.includes(each)}
        assert await by_id(store, scope, population) == visible
        assert await counted(store, scope) == len(visible)


@asynccontextmanager
async def open_filled(fresh: Fresh, population: list[Memory]) -> AsyncIterator[Store]:
    async with fresh() as store:
        async with store.storage.write() as unit:
            await unit.use_model(MODEL)
            await unit.changes.add([new(each, vector=vector(1, 0, 0, 0)) for each in population])
        yield store


async def by_page(store: Store, scope: Scope) -> set[str]:
    async with store.storage.read() as snapshot:
        return {each.id for each in await snapshot.memories.page(scope, after=None, limit=99, order="newest")}


async def by_document(store: Store, scope: Scope) -> set[str]:
    async with store.storage.read() as snapshot:
        documents = (await snapshot.memories.searchable(scope)).documents.tolist()
        found = await snapshot.memories.of_documents(range(1, 99), scope)
        assert sorted(found) == documents
    return {each.id for each in found.values()}


async def by_word(store: Store, scope: Scope) -> set[str]:
    hits = await store.lexical.search(scope, ["vault"], 99)
    async with store.storage.read() as snapshot:
        return {
            each.id for each in (await snapshot.memories.of_documents([hit.document for hit in hits], scope)).values()
        }


async def by_id(store: Store, scope: Scope, population: Sequence[Memory]) -> set[str]:
    found = set()
    async with store.storage.read() as snapshot:
        for each in population:
            try:
                found.add((await snapshot.memories.get(each.id, scope.visibility)).id)
            except MemoryNotFound:
                continue
    return found


async def counted(store: Store, scope: Scope) -> int:
    async with store.storage.read() as snapshot:
        return (await snapshot.memories.stats(scope.visibility)).total


def inside(scope: Scope, memory: Memory) -> bool:
    """Tell, by the docstrings of Scope and MemoryFilter, whether a scope holds a memory."""
    wanted = scope.filter
    return (
        scope.visibility.includes(memory)
        and (not scope.historic or memory.created_at <= scope.at)
        and (wanted.include_expired or not passed(memory.expires_at, scope.at))
        and (wanted.include_superseded or not superseded(scope, memory))
        and labelled(wanted, memory)
        and during(memory.occurred_at, wanted.occurred_after, wanted.occurred_before)
        and during(memory.created_at, wanted.created_after, wanted.created_before)
    )


def superseded(scope: Scope, memory: Memory) -> bool:
    return passed(memory.superseded_at, scope.at) if scope.historic else memory.superseded_at is not None


def labelled(wanted: MemoryFilter, memory: Memory) -> bool:
    return (
        wanted.namespace in {None, memory.namespace}
        and wanted.agent_id in {None, memory.agent_id}
        and wanted.memory_type in {None, memory.memory_type}
        and wanted.session_id in {None, memory.session_id}
        and (not wanted.tags_any or bool(set(wanted.tags_any) & set(memory.tags)))
        and set(wanted.tags_all) <= set(memory.tags)
        and memory.importance >= (wanted.min_importance or 0)
    )


def during(moment: datetime | None, after: datetime | None, before: datetime | None) -> bool:
    if moment is None:
        return after is None and before is None
    return (after is None or after <= moment) and (before is None or moment < before)


def passed(moment: datetime | None, at: datetime) -> bool:
    return moment is not None and moment <= at


def test_every_filter_is_tried() -> None:
    assert set(FILTERS) == {field.name for field in attrs.fields(MemoryFilter)}
