"""Random worlds of agents and memories in a real store, and the policy's word on who sees what in them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random

import attrs

from tests.contracts.builders import DAY, memory, new, used_key
from tests.contracts.derived import MemoryIndex
from tmws_adapters.bootstrap import Parts, compose, open_parts
from tmws_adapters.partitioned import Costs, open_partitioned
from tmws_adapters.settings import Settings
from tmws_core.app import App
from tmws_core.domain.access import visibility_of
from tmws_core.domain.agent import AGENT_PERMISSIONS, ROLES, Agent, Caller, Role
from tmws_core.domain.memory import AccessLevel, Memory, MemoryType, Share, SharePermission

NAMESPACES = ("acme", "acme/backend", "acme/backend/api", "acme2", "globex")
AGENTS = 10
MEMORIES = 60
PAST, FUTURE = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
NOWHERE = "01890a5d-ac96-774b-bcce-b302099a8057"
"""The id of no memory."""

ALWAYS = Costs(value=1.0, partition=1.0, candidate=0.0)
"""Every partition is worth its place in the index, and is asked."""


@attrs.frozen(kw_only=True)
class Stored:
    """A memory, the words that only its texts hold, the former ones included, and its idempotency key."""

    memory: Memory
    words: frozenset[str]
    key: str | None


@attrs.frozen(kw_only=True)
class World:
    """An app over a store that holds all of this."""

    app: App
    settings: Settings
    agents: dict[str, Agent]
    stored: dict[str, Stored]

    @property
    def memories(self) -> list[Memory]:
        """Return all memories, oldest first."""
        return [self.stored[memory_id].memory for memory_id in sorted(self.stored)]

    @property
    def operator(self) -> Caller:
        return self.settings.operator()

    def callers(self) -> list[Caller]:
        """Return every agent as it comes over stdio, two that are not registered, and the operator."""
        registered = [Caller(agent_id=each.id, namespace=each.namespace) for each in self.agents.values()]
        strangers = [Caller(agent_id=f"stranger{number}", namespace=NAMESPACES[number]) for number in range(2)]
        return [*registered, *strangers, self.operator]

    def is_active(self, caller: Caller) -> bool:
        return caller.agent_id not in self.agents or self.agents[caller.agent_id].active

    def as_registered(self, caller: Caller) -> Caller:
        """Return the caller with the rights that the policy gives it."""
        if caller.identified:
            return caller
        agent = self.agents.get(caller.agent_id)
        return attrs.evolve(caller, permissions=AGENT_PERMISSIONS if agent is None else ROLES[agent.role])

    def seen_by(self, caller: Caller) -> set[str]:
        """Return the ids of what the policy lets a caller see."""
        visibility = visibility_of(self.as_registered(caller))
        return {each.id for each in self.memories if visibility.includes(each)}


@asynccontextmanager
async def open_random(settings: Settings, seed: int, *, planned: bool) -> AsyncIterator[World]:
    """Fill the empty store of the settings with a world that the seed decides; `planned` searches through an index."""
    random = Random(seed)
    async with open_parts(settings) as parts:
        agents = _agents(random)
        stored = await _fill(parts, random, agents)
        world = World(
            app=compose(settings, parts),
            settings=settings,
            agents={agent.id: agent for agent in agents},
            stored={each.memory.id: each for each in stored},
        )
        if not planned:
            yield world
            return
        async with open_partitioned(
            parts.vectors, MemoryIndex(), parts.storage, costs=ALWAYS, interval=timedelta(hours=1)
        ) as index:
            await index.follower.catch_up()
            assert (await index.health())["indexed"] > 0
            yield attrs.evolve(world, app=compose(settings, attrs.evolve(parts, vectors=index)))


def _agents(random: Random) -> list[Agent]:
    """Return agents of every role, two of them inactive."""
    roles = [*Role, *random.choices([*Role], [2, 6, 2, 1], k=AGENTS - len(Role))]
    return [
        Agent(
            id=f"agent{number}",
            namespace=random.choice(NAMESPACES),
            role=role,
            active=number < AGENTS - 2,
            created_at=DAY,
            updated_at=DAY,
        )
        for number, role in enumerate(roles)
    ]


async def _fill(parts: Parts, random: Random, agents: list[Agent]) -> list[Stored]:
    drafts = [_memory(random, number, agents) for number in range(MEMORIES)]
    for index, draft in enumerate(drafts):
        if random.random() < 0.25:
            successor = random.choice([random.choice(drafts).id, NOWHERE])
            drafts[index] = attrs.evolve(draft, superseded_by=successor, superseded_at=DAY + timedelta(minutes=1))
    vectors = await parts.embedder.passages([draft.content for draft in drafts])
    keys = [f"key{number}" if random.random() < 0.5 else None for number in range(MEMORIES)]
    embedded = [random.random() < 0.9 for _ in drafts]
    async with parts.storage.write() as unit:
        await parts.embedder.adopt(unit, parts.embedder.changes)
        for agent in agents:
            await unit.agents.add(agent)
        await unit.changes.add(
            [
                new(attrs.evolve(draft, embedded=has), vector=vector if has else None)
                for draft, vector, has in zip(drafts, vectors, embedded, strict=True)
            ]
        )
        await unit.changes.remember([used_key(draft, key) for draft, key in zip(drafts, keys, strict=True) if key])
    former = {draft.id: {_secret(number)} for number, draft in enumerate(drafts)}
    for number, draft in enumerate(random.sample(drafts, 15)):
        word = f"new{_secret(number)}"
        former[draft.id].add(word)
        await _rewrite(parts, random, draft, f"The vault holds the {word}.")
    async with parts.storage.read() as snapshot:
        everything = visibility_of(Caller(agent_id="x", namespace="x", permissions=ROLES[Role.ADMIN]))
        return [
            Stored(memory=await snapshot.memories.get(draft.id, everything), words=frozenset(former[draft.id]), key=key)
            for draft, key in zip(drafts, keys, strict=True)
        ]


async def _rewrite(parts: Parts, random: Random, draft: Memory, content: str) -> None:
    """Change the text of a stored memory, and often who sees it."""
    [vector] = await parts.embedder.passages([content])
    everything = visibility_of(Caller(agent_id="x", namespace="x", permissions=ROLES[Role.ADMIN]))
    async with parts.storage.write() as unit:
        former = await unit.memories.get(draft.id, everything)
        changed = attrs.evolve(
            former,
            content=content,
            access_level=random.choice([former.access_level, *AccessLevel]),
            version=2,
            updated_at=DAY + timedelta(minutes=2),
        )
        await unit.changes.replace(former, new(changed, vector=vector))


def _memory(random: Random, number: int, agents: list[Agent]) -> Memory:
    owner = random.choice([*agents, None])
    home = owner.namespace if owner else NAMESPACES[0]
    listed = random.sample([*(agent.id for agent in agents), "stranger0", "stranger1"], random.randrange(4))
    return memory(
        agent_id=owner.id if owner else "stranger0",
        namespace=home if random.random() < 0.8 else random.choice(NAMESPACES),
        content=f"The vault holds the {_secret(number)}.",
        memory_type=random.choice([*MemoryType]),
        access_level=random.choice([*AccessLevel]),
        shared_with=tuple(Share(agent_id, random.choice([*SharePermission])) for agent_id in listed),
        tags=tuple(random.sample(["red", "green", "blue"], random.randrange(3))),
        session_id=random.choice([None, "s1", "s2"]),
        sequence=random.choice([None, number]),
        expires_at=random.choice([None, None, None, PAST, FUTURE]),
    )


def _secret(number: int) -> str:
    return f"secret{number}x"
