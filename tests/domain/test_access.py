"""The access policy, exhaustively: every level, relation and right."""

from itertools import product

import attrs
import pytest
from hypothesis import example, given

from tests.domain.memories import MOMENT, callers, memories
from tmws_core.domain.access import acting_for, may_manage, may_write, visibility_of
from tmws_core.domain.agent import AGENT_PERMISSIONS, Agent, Caller, Permission, operator
from tmws_core.domain.memory import AccessLevel, Memory, MemoryType, Share, SharePermission
from tmws_core.errors import Forbidden

OWNER = Caller(agent_id="athena", namespace="acme")
TEAMMATE = Caller(agent_id="artemis", namespace="acme")
STRANGER = Caller(agent_id="hestia", namespace="globex")
CHILD = Caller(agent_id="eris", namespace="acme/backend")
READER = Caller(agent_id="muses", namespace="globex")
WRITER = Caller(agent_id="hera", namespace="globex")
OPERATOR = operator("default-agent", "default", "cli")


def memory(level: AccessLevel) -> Memory:
    return Memory(
        id="01890a5d-ac96-774b-bcce-b302099a8057",
        document=1,
        agent_id="athena",
        namespace="acme",
        content="The deploy key lives in the vault.",
        memory_type=MemoryType.SEMANTIC,
        importance=0.5,
        access_level=level,
        shared_with=(Share("muses", SharePermission.READ), Share("hera", SharePermission.WRITE)),
        metadata={},
        written_by="athena",
        transport="python",
        created_at=MOMENT,
        updated_at=MOMENT,
    )


READERS = {
    AccessLevel.PRIVATE: {OWNER, OPERATOR},
    AccessLevel.TEAM: {OWNER, TEAMMATE, OPERATOR},
    AccessLevel.SHARED: {OWNER, READER, WRITER, OPERATOR},
    AccessLevel.PUBLIC: {OWNER, TEAMMATE, STRANGER, CHILD, READER, WRITER, OPERATOR},
    AccessLevel.SYSTEM: {OWNER, TEAMMATE, STRANGER, CHILD, READER, WRITER, OPERATOR},
}
WRITERS = {
    AccessLevel.PRIVATE: {OWNER, OPERATOR},
    AccessLevel.TEAM: {OWNER, OPERATOR},
    AccessLevel.SHARED: {OWNER, WRITER, OPERATOR},
    AccessLevel.PUBLIC: {OWNER, OPERATOR},
    AccessLevel.SYSTEM: {OPERATOR},
}
CASES = list(product(AccessLevel, (OWNER, TEAMMATE, STRANGER, CHILD, READER, WRITER, OPERATOR)))


@pytest.mark.parametrize(("level", "caller"), CASES)
def test_each_level_shows_a_memory_to_exactly_its_readers(level: AccessLevel, caller: Caller) -> None:
    assert visibility_of(caller).includes(memory(level)) == (caller in READERS[level])


@pytest.mark.parametrize(("level", "caller"), CASES)
def test_each_level_lets_exactly_its_writers_change_a_memory(level: AccessLevel, caller: Caller) -> None:
    assert may_write(caller, memory(level)) == (caller in WRITERS[level])


@pytest.mark.parametrize(("level", "caller"), CASES)
def test_only_owner_and_operator_manage_and_system_memories_only_the_operator(
    level: AccessLevel, caller: Caller
) -> None:
    managers = {OPERATOR} if level is AccessLevel.SYSTEM else {OWNER, OPERATOR}
    assert may_manage(caller, memory(level)) == (caller in managers)


@given(callers, memories)
@example(STRANGER, memory(AccessLevel.PRIVATE))
def test_who_may_change_a_memory_sees_it(caller: Caller, remembered: Memory) -> None:
    if may_write(caller, remembered) or may_manage(caller, remembered):
        assert visibility_of(caller).includes(remembered)


@given(callers, memories)
def test_a_private_memory_is_seen_by_its_owner_and_the_operator_only(caller: Caller, remembered: Memory) -> None:
    private = attrs.evolve(remembered, access_level=AccessLevel.PRIVATE)
    expected = caller.agent_id == private.agent_id or caller.may(Permission.READ_ALL)
    assert visibility_of(caller).includes(private) == expected


def test_the_operator_acting_for_an_agent_sees_only_what_that_agent_sees() -> None:
    acting = acting_for(OPERATOR, "artemis", registered("artemis", "acme"))
    assert acting.permissions == AGENT_PERMISSIONS
    assert visibility_of(acting).includes(memory(AccessLevel.TEAM))
    assert not visibility_of(acting).includes(memory(AccessLevel.PRIVATE))


def registered(agent_id: str, namespace: str) -> Agent:
    return Agent(id=agent_id, namespace=namespace, created_at=MOMENT, updated_at=MOMENT)


def test_an_agent_may_not_act_for_another() -> None:
    with pytest.raises(Forbidden) as refusal:
        acting_for(TEAMMATE, "athena", registered("athena", "acme"))
    assert refusal.value.field == "agent_id"
