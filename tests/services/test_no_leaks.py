"""No path shows anybody what the policy hides, or hides what it shows: random worlds, every caller, every path."""

import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from random import Random

import anyio
import pytest
from hypothesis import HealthCheck, Phase, given, note
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.contracts.ollama_double import OllamaDouble
from tests.licences import UNLIMITED
from tests.servers.postgres import PostgresServer
from tests.services.paths import Walk, renamed
from tests.services.worlds import NOWHERE, World, open_random
from tmws_adapters.postgres import predicate
from tmws_adapters.settings import Settings, load_settings
from tmws_core.domain.access import acting_for, may_write, visibility_of
from tmws_core.domain.agent import ROLES, Caller, Permission

CASES = 20_000
"""One case is one caller, one memory and one path on which it is seen or not."""

WORLDS = {"exact": 2, "planned": 2, "postgresql": 1, "postgresql, forgetful": 1}
"""Worlds, by what is searched: SQLite exactly or through an index, and PostgreSQL.

The forgetful one asks for what everybody may read, and only row-level security keeps it from that.
"""


@pytest.fixture(params=WORLDS)
def searched(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what is searched."""
    if "forgetful" in request.param:
        monkeypatch.setattr(predicate, "_VISIBLE", "TRUE")
    return str(request.param)


seeds = st.integers(0, 2**32 - 1)


@pytest.mark.embedded("both stacks are among its worlds")
def test_every_path_agrees_with_the_policy(
    ollama: OllamaDouble,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    postgres_if_asked: Callable[[], PostgresServer],
    searched: str,
) -> None:
    cases: Counter[str] = Counter()
    sources: set[str] = set()

    @examples(
        max_examples=WORLDS[searched],
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(seed=seeds)
    def agree(seed: int) -> None:
        note(f"seed {seed}")
        variables = {"TMWS_HOME": tempfile.mkdtemp(dir=tmp_path), "TMWS_OLLAMA_BASE_URL": ollama.url, **UNLIMITED}
        with postgres_if_asked().database() if searched.startswith("postgresql") else nullcontext("") as url:
            variables |= {"TMWS_OLLAMA_MODEL": ollama.model, "TMWS_DATABASE_URL": url}
            settings = load_settings(variables, dotenv=None)
            anyio.run(partial(walk, settings, seed, cases, sources, planned=searched == "planned"))

    agree()
    with capsys.disabled():
        sys.stdout.write(f"\n{cases.total()} cases without a disagreement: {dict(cases)}\n")
    assert cases.total() >= CASES
    assert {"exact": "exact", "planned": "memory"}.get(searched, "pgvector") in sources


async def walk(settings: Settings, seed: int, cases: Counter[str], sources: set[str], *, planned: bool) -> None:
    async with open_random(settings, seed, planned=planned) as world:
        random = Random(seed)
        for caller in world.callers():
            each = Walk(world=world, caller=caller, cases=cases, random=random, sources=sources)
            if world.is_active(caller):
                await each.run()
            else:
                await refuse_inactive(each)
        await act_for_others(world, cases, random)
        await repeat_others(world, cases, random)


async def refuse_inactive(walk: Walk) -> None:
    """Check that one that was deactivated gets the same refusal everywhere."""
    paths = {
        "get_memory": {"memory_id": walk.world.memories[0].id},
        "list_memories": {},
        "search_memories": {"query": "vault"},
        "get_memory_stats": {},
        "get_system_stats": {},
        "health_check": {},
        "create_memory": {"content": "x"},
        "list_agents": {},
        "get_current_agent": {},
    }
    for name, arguments in paths.items():
        answer = await walk.ask(name, **arguments)
        assert answer["error"]["code"] == "agent_inactive", (name, answer)
        walk.cases[name] += 1


async def act_for_others(world: World, cases: Counter[str], random: Random) -> None:
    """Let everybody try to act for everybody: it sees what both the right to do so and the other's eyes allow."""
    for caller in filter(world.is_active, world.callers()):
        policy = world.as_registered(caller)
        for agent_id in [*world.agents, "stranger0", "nobody"]:
            if agent_id == caller.agent_id:
                continue
            agent = world.agents.get(agent_id)
            may = policy.may(Permission.ACT_FOR_OTHERS) or (
                agent is not None and policy.manages(agent.namespace) and ROLES[agent.role] <= policy.permissions
            )
            code = "agent_inactive" if may else "forbidden"
            acting = acting_for(policy, agent_id, agent) if may and (agent is None or agent.active) else None
            visible = set() if acting is None else seen_by(world, acting)
            each = Walk(world=world, caller=caller, cases=cases, random=random, known=visible)
            for memory in random.sample(world.memories, 12):
                answer = await each.ask("get_memory", memory_id=memory.id, agent_id=agent_id)
                if acting is None:
                    assert answer["error"]["code"] == code
                else:
                    assert bool(answer.get("success")) == (memory.id in visible), (caller, agent_id, memory)
                cases["acting for another"] += 1
            if acting is not None:
                assert (await each.ask("get_memory_stats", agent_id=agent_id))["total"] == len(visible)


def seen_by(world: World, acting: Caller) -> set[str]:
    visibility = visibility_of(acting)
    return {memory.id for memory in world.memories if visibility.includes(memory)}


async def repeat_others(world: World, cases: Counter[str], random: Random) -> None:
    """Let callers store what others have stored, under the keys of others, and name unseen successors."""
    for caller in filter(world.is_active, world.callers()):
        if not world.as_registered(caller).may(Permission.MEMORY_WRITE):
            continue
        each = Walk(world=world, caller=caller, cases=cases, random=random, known=world.seen_by(caller))
        others = [stored for stored in world.stored.values() if stored.memory.agent_id != caller.agent_id]
        for stored in random.sample(others, 8):
            key = {"idempotency_key": stored.key} if stored.key else {}
            created = await each.ask("create_memory", content=stored.memory.content, **key)
            assert created["success"], created
            assert "duplicate_of" not in created
            assert created["memory_id"] not in world.stored
            gone = await each.ask("delete_memory", memory_id=created["memory_id"])
            assert gone["success"], gone
            cases["create_memory"] += 1
        await name_successors(each)


async def name_successors(walk: Walk) -> None:
    """Try to replace an own memory by each that is not seen."""
    own = [each for each in walk.world.memories if each.agent_id == walk.caller.agent_id]
    # To name the successor that it has already changes nothing, and asks for fewer rights.
    changeable = [each for each in own if may_write(walk.policy, each) and each.superseded_by != NOWHERE]
    hidden = [each for each in walk.world.memories if each.id not in walk.known]
    if not changeable:
        return
    missing = await walk.ask("update_memory", memory_id=changeable[0].id, superseded_by=NOWHERE)
    for memory in hidden:
        answer = await walk.ask("update_memory", memory_id=changeable[0].id, superseded_by=memory.id)
        assert renamed(answer, memory.id) == missing
        assert answer["error"]["field"] == "superseded_by"
        walk.cases["update_memory, superseded_by"] += 1
