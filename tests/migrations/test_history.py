"""What was stored at any revision is there at the newest one, and stays while the schema goes back and forth."""

import attrs
import pytest

from tests.contracts.audit_steps import auditing
from tests.contracts.builders import EVERYTHING, MODEL, fingerprint, new, scope
from tests.contracts.stores import Store, open_at
from tests.migrations.former import FORMER_TEXT, KEY, NORTH, ROSE, TEXT, fill
from tests.migrations.places import REVISIONS, differences, downgraded, go, is_server, raw, standing, upgraded
from tmws_adapters.migrations import HEAD
from tmws_core.domain.access import Visibility
from tmws_core.domain.agent import Role
from tmws_core.domain.memory import AccessLevel, content_hash
from tmws_core.domain.text import query_terms
from tmws_core.ports.storage import UsedKey

pytestmark = pytest.mark.anyio

GRACE = Visibility("grace", "globex")
STRANGER = Visibility("mallory", "acme")


async def found(store: Store, visibility: Visibility) -> list[str]:
    hits = await store.lexical.search(scope(visibility), query_terms("roses in July"), 10)
    async with store.storage.read() as snapshot:
        memories = await snapshot.memories.of_documents([hit.document for hit in hits], scope(visibility))
    return [each.content for each in memories.values()]


async def check(place: str, revision: str) -> None:
    """Check that everything of a store of that revision can be read through the ports."""
    async with open_at(place) as store:
        storage = store.storage
        async with storage.read() as snapshot:
            memory = await snapshot.memories.get(ROSE, GRACE)
            uses = await snapshot.memories.uses([memory.document])
            history = await snapshot.memories.history(ROSE)
            (repeated,) = await snapshot.memories.known([fingerprint(memory, "k1")])
            visible = await snapshot.memories.visible([ROSE], STRANGER)
            agents = await snapshot.agents.page(None, after=None, limit=9)
            belongings = await snapshot.agents.belongings(["ada"])
            key = await snapshot.credentials.find(KEY)
        assert (memory.content, memory.access_level, memory.version) == (TEXT, AccessLevel.SHARED, 2)
        assert (memory.tags, memory.metadata, memory.embedded) == (("garden",), {"mood": "glad"}, True)
        assert [share.agent_id for share in memory.shared_with] == ["grace"]
        assert [former.content for former in history] == [FORMER_TEXT]
        assert repeated.used == UsedKey(agent_id="ada", key="k1", memory_id=ROSE, request_hash=None)
        assert repeated.keyed == memory
        assert visible == set()
        assert await storage.model() == MODEL
        assert await storage.vectors([memory.document]) == {memory.document: NORTH}
        assert [await found(store, each) for each in (EVERYTHING, GRACE, STRANGER)] == [[TEXT], [TEXT], []]
        assert [agent.id for agent in agents] == ["ada", "grace"]
        owned = len(TEXT) + len('{"mood":"glad"}') + len(FORMER_TEXT)
        assert (belongings["ada"].memories, belongings["ada"].bytes) == (1, owned)
        log = await auditing(storage).verify()
        assert (log.rows, log.breach) == (1, None)
        if revision >= "0002":
            assert [each.count for each in uses.values()] == [3]
        if revision >= "0003":
            canary = await storage.canary(MODEL)
            assert canary is not None
            assert canary.vector == NORTH
        if revision >= "0004":
            assert key is not None
            assert agents[0].role is Role.ADMIN
        assert await storage.integrity() == []


async def change(place: str) -> None:
    """Check that the memory can be changed and deleted, too."""
    async with open_at(place) as store:
        async with store.storage.write() as unit:
            memory = await unit.memories.get(ROSE, EVERYTHING)
            changed = attrs.evolve(memory, importance=0.9, version=3)
            await unit.changes.replace(memory, new(changed))
        async with store.storage.write() as unit:
            await unit.changes.delete(await unit.memories.get(ROSE, EVERYTHING))
        assert (await store.storage.health()).memories == 0
        assert await store.storage.integrity() == []


@pytest.mark.parametrize("revision", ["0001", "0002", "0003", "0004"])
async def test_a_store_of_each_revision_is_upgraded_with_what_it_holds(place: str, revision: str) -> None:
    go(place, revision)
    fill(place, revision)

    done = upgraded(place)

    assert (done.before, done.after) == (revision, HEAD)
    assert differences(place) == []
    await check(place, revision)
    await change(place)


@pytest.mark.parametrize("revision", REVISIONS[-2:0:-1])
async def test_what_a_store_holds_survives_each_step_back_and_forth(place: str, revision: str) -> None:
    go(place, "0004")
    fill(place, "0004")
    upgraded(place)

    go(place, revision)
    assert differences(place) == []
    upgraded(place)

    assert differences(place) == []
    # What a revision has added is gone with it: access with the fourth, models with the third.
    await check(place, revision)


async def test_a_downgrade_takes_one_step_at_a_time(place: str) -> None:
    upgraded(place)

    steps = [downgraded(place) for _ in range(4)]

    assert [(step.before, step.after) for step in steps] == [*zip(REVISIONS[:0:-1], REVISIONS[-2::-1], strict=True)][:4]
    assert standing(place).revision == REVISIONS[-5]
    assert differences(place) == []


async def test_texts_are_told_apart_to_the_last_space_and_keys_of_what_is_gone_are_free(place: str) -> None:
    code = "if True:\n    pass"
    go(place, "0004")
    fill(place, "0004")
    folded = content_hash(" ".join(code.split()))
    with raw(place) as connection:
        connection.execute(f"UPDATE memories_v2 SET content = '{code}', content_hash = '{folded}'")
        connection.execute("INSERT INTO idempotency_keys (agent_id, key, memory_id) VALUES ('ada', 'k2', 'gone')")

    upgraded(place)

    async with open_at(place) as store, store.storage.read() as snapshot:
        memory = await snapshot.memories.get(ROSE, EVERYTHING)
        known = await snapshot.memories.known(
            [
                fingerprint(memory),
                fingerprint(attrs.evolve(memory, content=" ".join(code.split()))),
                fingerprint(memory, "k2"),
            ]
        )
    assert [[each.id for each in found.alike] for found in known] == [[ROSE], [], [ROSE]]
    assert [found.used for found in known] == [None] * 3
    assert hashes(place) == [content_hash(code)]
    assert differences(place) == []

    go(place, "0007")
    assert hashes(place) == [folded]


def hashes(place: str) -> list[str]:
    with raw(place) as connection:
        if is_server(place):
            connection.execute("SELECT set_config('tmws.audience', 'all:', false)")
        return [found for (found,) in connection.execute("SELECT content_hash FROM memories_v2").fetchall()]
