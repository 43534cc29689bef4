"""A store with something in every one of its tables, in every state that it can be in."""

from datetime import timedelta

import attrs

from tests.contracts.builders import DAY, MODEL, NOON, memory, new, scope, used_key, vector
from tests.contracts.stores import Store
from tmws_core.domain.agent import Agent, Role
from tmws_core.domain.audit import AuditEvent
from tmws_core.domain.chain import Checkpoint
from tmws_core.domain.credential import ApiKey, digest_of
from tmws_core.domain.embedding import Canary, EmbeddingModel
from tmws_core.domain.memory import AccessLevel, Memory, Share, SharePermission, Uses
from tmws_core.ports.storage import NewMemory, UnitOfWork

COMING = EmbeddingModel(name="tests/three", dimension=3, digest="d2")

ADA = Agent(
    id="ada",
    namespace="acme",
    role=Role.READER,
    display_name="Ada Lovelace",
    capabilities=("müde 物", "b"),
    metadata={"größe": 1.5, "tief": {"a": [None, True]}},
    created_at=DAY,
    updated_at=NOON + timedelta(microseconds=1),
)

BOB = Agent(id="bob", namespace="globex/east", active=False, created_at=DAY, updated_at=DAY)


async def furnish(store: Store, turns: int = 30) -> list[Memory]:
    """Fill an empty store and return the memories that it holds."""
    async with store.storage.write() as unit:
        await unit.agents.add(ADA)
        await unit.agents.add(BOB)
        await unit.use_model(MODEL, Canary(text="canary", vector=vector(1, 2, 3, 4)))
        special = _special()
        await unit.changes.add([*special, *_turns(turns)])
        _, shared, _, superseded, _ = (each.memory for each in special)
        await unit.changes.remember(
            [used_key(shared, "k 1"), attrs.evolve(used_key(superseded, "k 2"), duplicate=True)]
        )
        await _add_credentials(unit)
        await unit.audit([_event(number) for number in range(20)])
    await store.license_clock.note(NOON)
    await change(store)
    await _sign(store)
    async with store.models.migration() as migration:
        await migration.begin(COMING, Canary(text="other", vector=vector(1, 0, 0)))
        await migration.prepare({each.document: vector(1, 1, each.document) for each in (await all_of(store))[:9]})
    return await all_of(store)


async def change(store: Store) -> None:
    """Change, use and delete some of the memories, and add some more."""
    memories = await all_of(store)
    async with store.storage.write() as unit:
        for number, former in enumerate(memories):
            if number % 7 == 1:
                await unit.changes.delete(former)
            elif number % 5 == 2:
                await unit.changes.replace(former, _edited(former))
            elif number % 5 == 3:
                later = attrs.evolve(former, importance=1 / 3, version=former.version + 1)
                await unit.changes.replace(former, new(later))
            elif number % 5 == 4:
                await unit.changes.add_uses({former.id: Uses(number, NOON + timedelta(microseconds=number))})
        later = memory(content="later")
        await unit.changes.add([new(later, vector=vector(4, 3, 2, 1))])
        await unit.changes.remember([used_key(later, f"later {len(memories)}", None)])
        await unit.audit([_event(len(memories))])


async def all_of(store: Store) -> list[Memory]:
    """Return the memories of a store in the order of their ids."""
    async with store.storage.read() as snapshot:
        wanted = scope(include_expired=True, include_superseded=True)
        return await snapshot.memories.page(wanted, after=None, limit=100_000, order="oldest")


def _edited(former: Memory) -> NewMemory:
    changed = attrs.evolve(
        former,
        content=f"{former.content}, put otherwise",
        version=former.version + 1,
        updated_at=former.updated_at + timedelta(hours=1),
        written_by="bob",
    )
    return new(changed, vector=vector(len(changed.content), 1, 1, 1))


def _special() -> list[NewMemory]:
    shares = (*(Share(f"agent{9 - number}", SharePermission.WRITE) for number in range(5)), Share("bob"))
    return [
        new(memory(content="kein Vektor ä 引っ越し\n\U0001f600", metadata={"leer": "", "tab": "\t", "null": None})),
        new(memory(access_level=AccessLevel.SHARED, shared_with=shares, tags=("b", "a", 'quo"te'))),
        new(memory(access_level=AccessLevel.PUBLIC, expires_at=NOON, importance=0.1 + 0.2), vector=vector(1, 0, 0, 0)),
        new(memory(superseded_by="somebody", superseded_at=NOON, source="x"), vector=vector(0, 0, 1, 0)),
        new(
            memory(created_at=DAY - timedelta(days=800), occurred_at=DAY.replace(year=1805)), vector=vector(0, 1, 0, 0)
        ),
    ]


def _turns(count: int) -> list[NewMemory]:
    return [
        new(
            memory(
                content=f"turn {number} says word{number}",
                agent_id="ada" if number % 3 else "bob",
                session_id=f"session {number % 2}",
                sequence=number // 2,
                access_level=AccessLevel.TEAM if number % 4 else AccessLevel.PRIVATE,
            ),
            vector=vector(number + 1, 1, 2, 3),
        )
        for number in range(count)
    ]


async def _add_credentials(unit: UnitOfWork) -> None:
    await unit.credentials.add(ApiKey(id="1" * 16, agent_id="ada", digest=digest_of(b"one"), created_at=DAY))
    await unit.credentials.add(
        ApiKey(id="2" * 16, agent_id="bob", digest=digest_of(b"two"), name="laptop", created_at=DAY, expires_at=NOON)
    )
    await unit.credentials.note_uses({"1" * 16: NOON})
    await unit.credentials.revoke("2" * 16, NOON)
    await unit.credentials.revoke_token("token", NOON)


def _event(number: int) -> AuditEvent:
    at = DAY + timedelta(seconds=number)
    return AuditEvent(timestamp=at, event_type="memory.read", agent_id="ädä", details={"id": "ü", "count": number})


async def _sign(store: Store) -> None:
    async with store.storage.write() as unit:
        end = await unit.audit_log.end()
        assert end is not None
        first = (await unit.audit_log.rows(5, 1))[0]
        assert first.hash is not None
        pruned = attrs.evolve(end, id=first.id, hash=first.hash)
        for place, gone in ((pruned, True), (end, False)):
            await unit.audit_log.add_checkpoint(
                Checkpoint(
                    end=place, created_at="2026-02-01T00:00:00Z", pruned=gone, public_key=b"\0\1", signature=b"\xff\0"
                )
            )
