"""Storing, changing, sharing and deleting."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from tests.contracts.ollama_double import ollama_double
from tests.services.conftest import World, word_counts
from tests.services.model_change import embedded_by
from tests.stacks import SOURCE, WORDS
from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import Settings
from tmws_core.domain.memory import AccessLevel, SharePermission
from tmws_core.errors import Forbidden, InvalidField, MemoryNotFound, TmwsError, VersionConflict
from tmws_core.messages.memory import (
    CreateMemories,
    CreateMemory,
    DeleteMemory,
    GetMemory,
    GetMemoryStats,
    ListMemories,
    MemoryView,
    ShareMemory,
    UpdateMemory,
)
from tmws_core.messages.search import SearchMemories, SearchMode
from tmws_core.messages.system import GetSystemStats

pytestmark = pytest.mark.anyio
NOWHERE = "01890a5d-ac96-774b-bcce-b302099a8057"


async def _stored(world: World, memory_id: str) -> MemoryView:
    return (await world.app.call(world.operator, GetMemory(memory_id=memory_id))).memory


async def _total(world: World) -> int:
    return (await world.app.call(world.operator, GetMemoryStats())).total


async def _found(world: World, caller: Any, query: str) -> Sequence[str]:
    return [hit.memory_id for hit in (await world.app.call(caller, SearchMemories(query=query))).results]


async def test_a_stored_memory_is_read_back_as_it_was_given(world: World) -> None:
    created = await world.app.call(
        world.agent("athena"),
        CreateMemory(
            content="The deploy key lives in the vault.",
            importance=0.8,
            tags=("ops", "keys", "ops"),
            metadata={"ticket": 7},
            session_id="s1",
            sequence=3,
            source="chat",
        ),
    )
    memory = await _stored(world, created.memory_id)
    assert created.embedding_generated
    assert created.embedding_latency_ms > 0
    assert (memory.content, memory.importance, memory.tags) == (
        "The deploy key lives in the vault.",
        0.8,
        ("ops", "keys"),
    )
    assert (memory.agent_id, memory.namespace, memory.written_by, memory.transport) == (
        "athena",
        "acme",
        "athena",
        "python",
    )
    assert (memory.metadata, memory.session_id, memory.sequence, memory.source) == ({"ticket": 7}, "s1", 3, "chat")
    assert (memory.version, memory.embedded) == (1, True)


async def test_an_acknowledged_memory_is_found_at_once_by_words_and_by_meaning(world: World) -> None:
    created = await world.app.call(world.agent("athena"), CreateMemory(content="Caroline adopted a grey kitten."))
    found = await world.app.call(world.agent("athena"), SearchMemories(query="kitten Caroline adopted", explain=True))
    assert found.results[0].memory_id == created.memory_id
    assert found.results[0].lexical_rank == 1
    assert found.results[0].similarity is not None
    assert found.search_source == SOURCE


async def test_a_batch_with_one_refused_memory_stores_none(world: World) -> None:
    batch = CreateMemories(memories=(CreateMemory(content="A."), CreateMemory(content="B.", namespace="globex")))
    with pytest.raises(Forbidden) as refusal:
        await world.app.call(world.agent("athena"), batch)
    assert refusal.value.field == "namespace"
    assert await _total(world) == 0


async def test_an_agent_writes_neither_for_others_nor_elsewhere_nor_for_the_system(world: World) -> None:
    athena = world.agent("athena")
    for request, field in (
        (CreateMemory(content="x", agent_id="artemis"), "agent_id"),
        (CreateMemory(content="x", namespace="acme/backend"), "namespace"),
        (CreateMemory(content="x", access_level=AccessLevel.SYSTEM), "access_level"),
    ):
        with pytest.raises(Forbidden) as refusal:
            await world.app.call(athena, request)
        assert refusal.value.field == field


async def test_the_operator_writes_for_any_agent_in_any_namespace(world: World) -> None:
    request = CreateMemory(content="x", agent_id="artemis", namespace="globex", access_level=AccessLevel.SYSTEM)
    memory = await _stored(world, (await world.app.call(world.operator, request)).memory_id)
    assert (memory.agent_id, memory.namespace, memory.written_by) == ("artemis", "globex", "default-agent")


async def test_the_operator_acting_for_an_agent_does_not_see_others_private_memories(world: World) -> None:
    created = await world.app.call(world.agent("athena"), CreateMemory(content="Mine alone."))
    with pytest.raises(MemoryNotFound):
        await world.app.call(world.operator, GetMemory(memory_id=created.memory_id, agent_id="artemis"))


async def test_another_agents_private_memory_does_not_exist(world: World) -> None:
    created = await world.app.call(world.agent("athena"), CreateMemory(content="Mine alone."))
    artemis = world.agent("artemis")
    requests: list[Any] = [
        GetMemory(memory_id=created.memory_id),
        UpdateMemory(memory_id=created.memory_id, importance=0.1),
        DeleteMemory(memory_id=created.memory_id),
        ShareMemory(memory_id=created.memory_id, shared_with=("artemis",)),
    ]
    for request in requests:
        with pytest.raises(MemoryNotFound):
            await world.app.call(artemis, request)
    assert await _found(world, artemis, "Mine alone") == []
    assert (await world.app.call(artemis, GetMemoryStats())).total == 0
    assert (await world.app.call(artemis, ListMemories())).memories == ()


async def test_a_teammate_reads_a_team_memory_but_does_not_change_it(world: World) -> None:
    created = await world.app.call(
        world.agent("athena"), CreateMemory(content="Team rule.", access_level=AccessLevel.TEAM)
    )
    artemis = world.agent("artemis")
    assert await _found(world, artemis, "team rule") == [created.memory_id]
    assert await _found(world, world.agent("hestia", "globex"), "team rule") == []
    for request in (
        UpdateMemory(memory_id=created.memory_id, content="Mine."),
        DeleteMemory(memory_id=created.memory_id),
    ):
        with pytest.raises(Forbidden):
            await world.app.call(artemis, request)


async def test_sharing_lets_the_listed_agents_in_and_revoking_shuts_them_out(world: World) -> None:
    athena, hestia = world.agent("athena"), world.agent("hestia", "globex")
    created = await world.app.call(athena, CreateMemory(content="Shared plan."))
    shared = await world.app.call(athena, ShareMemory(memory_id=created.memory_id, shared_with=("hestia",)))
    assert shared.access_level is AccessLevel.SHARED
    assert await _found(world, hestia, "shared plan") == [created.memory_id]
    with pytest.raises(Forbidden):
        await world.app.call(hestia, UpdateMemory(memory_id=created.memory_id, content="New plan."))
    await world.app.call(
        athena,
        ShareMemory(memory_id=created.memory_id, shared_with=("hestia",), permission=SharePermission.WRITE),
    )
    await world.app.call(hestia, UpdateMemory(memory_id=created.memory_id, content="New plan."))
    assert (await _stored(world, created.memory_id)).written_by == "hestia"
    await world.app.call(athena, ShareMemory(memory_id=created.memory_id, shared_with=("hestia",), revoke=True))
    assert await _found(world, hestia, "plan") == []


async def test_taking_a_reader_from_the_list_of_a_private_memory_lets_nobody_in(world: World) -> None:
    athena, hestia = world.agent("athena"), world.agent("hestia", "globex")
    draft = CreateMemory(content="Withdrawn plan.", access_level=AccessLevel.SHARED, shared_with=("hestia", "eris"))
    created = await world.app.call(athena, draft)
    await world.app.call(athena, UpdateMemory(memory_id=created.memory_id, access_level=AccessLevel.PRIVATE))
    revoked = ShareMemory(memory_id=created.memory_id, shared_with=("eris",), revoke=True)
    assert (await world.app.call(athena, revoked)).access_level is AccessLevel.PRIVATE
    assert await _found(world, hestia, "plan") == []


async def test_readers_do_not_see_who_else_is_on_the_list(world: World) -> None:
    athena = world.agent("athena")
    created = await world.app.call(
        athena, CreateMemory(content="x", access_level=AccessLevel.SHARED, shared_with=("hestia", "eris"))
    )
    request = GetMemory(memory_id=created.memory_id)
    assert (await world.app.call(world.agent("hestia"), request)).memory.shared_with is None
    assert len((await world.app.call(athena, request)).memory.shared_with or ()) == 2


async def test_a_list_of_agents_needs_the_access_level_shared(world: World) -> None:
    with pytest.raises(InvalidField, match="shared_with"):
        await world.app.call(world.agent("athena"), CreateMemory(content="x", shared_with=("hestia",)))
    public = await world.app.call(world.agent("athena"), CreateMemory(content="x", access_level=AccessLevel.PUBLIC))
    with pytest.raises(InvalidField, match="access_level"):
        await world.app.call(world.agent("athena"), ShareMemory(memory_id=public.memory_id, shared_with=("hestia",)))


async def test_an_update_keeps_the_former_text_as_history(world: World) -> None:
    athena = world.agent("athena")
    created = await world.app.call(athena, CreateMemory(content="The port is 8000."))
    updated = await world.app.call(
        athena, UpdateMemory(memory_id=created.memory_id, content="The port is 9000.", expected_version=1)
    )
    assert (updated.version, updated.embedding_generated) == (2, True)
    await world.app.call(athena, UpdateMemory(memory_id=created.memory_id, importance=0.9))
    found = await world.app.call(athena, GetMemory(memory_id=created.memory_id, include_history=True))
    assert found.memory.content == "The port is 9000."
    assert [(text.version, text.content) for text in found.history or ()] == [(1, "The port is 8000.")]
    assert await _found(world, athena, "9000") == [created.memory_id]


async def test_a_stale_version_is_a_conflict_and_changes_nothing(world: World) -> None:
    athena = world.agent("athena")
    created = await world.app.call(athena, CreateMemory(content="One."))
    await world.app.call(athena, UpdateMemory(memory_id=created.memory_id, content="Two.", expected_version=1))
    with pytest.raises(VersionConflict) as conflict:
        await world.app.call(athena, UpdateMemory(memory_id=created.memory_id, content="Three.", expected_version=1))
    assert (conflict.value.expected, conflict.value.actual) == (1, 2)
    assert (await _stored(world, created.memory_id)).content == "Two."


async def test_of_two_updates_at_once_with_one_version_one_wins(world: World) -> None:
    athena = world.agent("athena")
    created = await world.app.call(athena, CreateMemory(content="Zero."))
    outcomes = []

    async def update(content: str) -> None:
        request = UpdateMemory(memory_id=created.memory_id, content=content, expected_version=1)
        try:
            await world.app.call(athena, request)
            outcomes.append("stored")
        except VersionConflict:
            outcomes.append("conflict")

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(update, f"Text {number}.")
    assert sorted(outcomes) == ["conflict"] * 4 + ["stored"]


async def test_a_text_that_changes_while_its_date_does_gets_no_vector_of_the_former_text(settings: Settings) -> None:
    asked, released, holding = threading.Event(), threading.Event(), threading.Event()

    def held(texts: Sequence[str]) -> list[list[float]]:
        if holding.is_set() and any("rose" in text for text in texts):
            asked.set()
            released.wait()
        return word_counts(texts)

    with ollama_double(model="word-counter", vectors=held) as double:
        slow = embedded_by(settings, double)
        athena = slow.agent("athena")
        async with open_app(slow) as app:
            memory_id = (await app.call(athena, CreateMemory(content="The rose blooms."))).memory_id
            answers = []

            async def date() -> None:
                when = datetime(2021, 5, 1, tzinfo=UTC)
                answers.append(await app.call(athena, UpdateMemory(memory_id=memory_id, occurred_at=when)))

            holding.set()
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(date)
                    await anyio.to_thread.run_sync(asked.wait)
                    text = UpdateMemory(memory_id=memory_id, content="Submarines dive deep.")
                    meanwhile = await app.call(athena, text)
                    released.set()
            finally:
                released.set()

            assert meanwhile.embedding_generated
            assert [each.embedding_generated for each in answers] == [False]
            words = SearchMemories(query="submarines", mode=SearchMode.LEXICAL)
            assert [hit.memory_id for hit in (await app.call(athena, words)).results] == [memory_id]
            with anyio.fail_after(60):
                while (await app.call(athena, GetSystemStats())).unembedded:
                    await anyio.lowlevel.checkpoint()
            meaning = SearchMemories(
                query="On 1 May 2021, Submarines dive deep.", mode=SearchMode.SEMANTIC, explain=True
            )
            (hit,) = (await app.call(athena, meaning)).results
            assert hit.content == "Submarines dive deep."
            assert hit.similarity == pytest.approx(1, abs=0.01)


async def test_an_update_has_to_change_something(world: World) -> None:
    created = await world.app.call(world.agent("athena"), CreateMemory(content="x"))
    for request in (
        UpdateMemory(memory_id=created.memory_id, expected_version=1),
        UpdateMemory(memory_id=created.memory_id, superseded_by=created.memory_id),
    ):
        with pytest.raises(InvalidField):
            await world.app.call(world.agent("athena"), request)


async def test_a_superseded_memory_is_not_found_any_more_but_still_read(world: World) -> None:
    athena = world.agent("athena")
    old = await world.app.call(athena, CreateMemory(content="The office is in Oslo."))
    new = await world.app.call(athena, CreateMemory(content="The office is in Bergen."))
    await world.app.call(athena, UpdateMemory(memory_id=old.memory_id, superseded_by=new.memory_id))
    assert await _found(world, athena, "where is the office") == [new.memory_id]
    assert (await _stored(world, old.memory_id)).superseded_by == new.memory_id
    with pytest.raises(MemoryNotFound) as missing:
        await world.app.call(athena, UpdateMemory(memory_id=new.memory_id, superseded_by=NOWHERE))
    assert missing.value.field == "superseded_by"


async def test_a_deleted_memory_is_gone_with_its_history(world: World) -> None:
    athena = world.agent("athena")
    created = await world.app.call(athena, CreateMemory(content="Secret one."))
    await world.app.call(athena, UpdateMemory(memory_id=created.memory_id, content="Secret two."))
    await world.app.call(athena, DeleteMemory(memory_id=created.memory_id))
    with pytest.raises(MemoryNotFound):
        await world.app.call(athena, GetMemory(memory_id=created.memory_id))
    assert await _found(world, athena, "secret") == []
    for table in ("memories_v2", "memory_history", "embeddings", *WORDS):
        assert world.rows(f"SELECT count(*) FROM {table}") == [(0,)], table


async def test_every_change_leaves_an_audit_event_without_content(world: World) -> None:
    athena = world.agent("athena")
    created = await world.app.call(athena, CreateMemory(content="Secret one."))
    await world.app.call(athena, UpdateMemory(memory_id=created.memory_id, importance=0.9))
    await world.app.call(athena, ShareMemory(memory_id=created.memory_id, shared_with=("hestia",)))
    await world.app.call(athena, DeleteMemory(memory_id=created.memory_id))
    with pytest.raises(TmwsError):
        await world.app.call(athena, DeleteMemory(memory_id=created.memory_id))
    events = world.rows("SELECT event_type, agent_id, details FROM security_audit_logs ORDER BY id")
    assert [event[0] for event in events] == ["memory.created", "memory.updated", "memory.shared", "memory.deleted"]
    assert {event[1] for event in events} == {"athena"}
    assert not any("Secret" in str(event) for event in events)


async def test_writers_become_known_agents(world: World) -> None:
    await world.app.call(world.agent("athena"), CreateMemory(content="x"))
    await world.app.call(world.operator, CreateMemory(content="x", agent_id="artemis", namespace="globex"))
    assert sorted(world.rows("SELECT id, namespace FROM agents")) == [("artemis", "globex"), ("athena", "acme")]
