"""The access policy, exhaustively: every level, relation and right."""

from itertools import product

import attrs
import pytest
from hypothesis import example, given

from tests.domain.memories import MOMENT, callers, memories
from tmws_core.domain.access import acting_for, knows, knows_whole, may_manage, may_write, relation, visibility_of
from tmws_core.domain.agent import AGENT_PERMISSIONS, ROLES, Agent, Caller, Permission, Role, operator
from tmws_core.domain.memory import AccessLevel, Memory, MemoryType, Share, SharePermission
from tmws_core.errors import AgentInactive, Forbidden

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


@pytest.mark.parametrize(("level", "caller"), CASES)
def test_why_a_memory_is_seen_is_told(level: AccessLevel, caller: Caller) -> None:
    told = "owner" if caller == OWNER else level.value if caller in READERS[level] - {OPERATOR} else None
    if caller == OPERATOR and level in {AccessLevel.PUBLIC, AccessLevel.SYSTEM}:
        told = level.value
    assert relation(visibility_of(caller), memory(level)) == told


@pytest.mark.parametrize(("level", "caller"), CASES)
def test_without_the_right_to_write_nobody_changes_or_manages_a_memory(level: AccessLevel, caller: Caller) -> None:
    reading = attrs.evolve(caller, permissions=caller.permissions - {Permission.MEMORY_WRITE})
    assert not may_write(reading, memory(level))
    assert not may_manage(reading, memory(level))


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


def test_an_agent_knows_itself_its_namespace_and_whom_it_manages() -> None:
    teammate, child, stranger = (registered("x", name) for name in ("acme", "acme/backend", "globex"))
    assert [knows(OWNER, each) for each in (teammate, child, stranger)] == [True, False, False]
    assert [knows_whole(OWNER, each) for each in (teammate, child, stranger)] == [False, False, False]
    assert knows_whole(OWNER, registered("athena", "globex"))
    for known in (knows, knows_whole):
        assert [known(MANAGER, each) for each in (teammate, child, stranger)] == [True, True, False]
        assert known(OPERATOR, stranger)


MANAGER = Caller(agent_id="themis", namespace="acme", permissions=ROLES[Role.NAMESPACE_ADMIN])
DEPUTY = Caller(agent_id="proxy", namespace="globex", permissions=AGENT_PERMISSIONS | {Permission.ACT_FOR_OTHERS})


@pytest.mark.parametrize(
    ("caller", "namespace", "role", "allowed"),
    [
        (MANAGER, "acme", Role.AGENT, True),
        (MANAGER, "acme/backend", Role.READER, True),
        (MANAGER, "acme", Role.NAMESPACE_ADMIN, True),
        (MANAGER, "acme", Role.ADMIN, False),
        (MANAGER, "globex", Role.AGENT, False),
        (DEPUTY, "acme", Role.AGENT, True),
        (DEPUTY, "acme", Role.ADMIN, True),
        (TEAMMATE, "acme", Role.READER, False),
    ],
)
def test_who_acts_for_others_does_so_with_the_rights_of_both(
    caller: Caller, namespace: str, role: Role, *, allowed: bool
) -> None:
    agent = attrs.evolve(registered("athena", namespace), role=role)
    if allowed:
        acting = acting_for(caller, "athena", agent)
        assert (acting.agent_id, acting.namespace) == ("athena", namespace)
        assert acting.permissions == ROLES[role] & caller.permissions
    else:
        with pytest.raises(Forbidden, match=r"act for another agent than .*, as whom you call"):
            acting_for(caller, "athena", agent)


def test_nobody_acts_for_an_agent_that_was_deactivated() -> None:
    with pytest.raises(AgentInactive, match="act for athena") as refusal:
        acting_for(OPERATOR, "athena", attrs.evolve(registered("athena", "acme"), active=False))
    assert refusal.value.field == "agent_id"


def test_an_agent_that_is_not_registered_is_an_ordinary_one_of_the_namespace_of_who_acts_for_it() -> None:
    acting = acting_for(DEPUTY, "nobody", None)
    assert (acting.namespace, acting.permissions) == ("globex", AGENT_PERMISSIONS)
    with pytest.raises(Forbidden):
        acting_for(MANAGER, "nobody", None)


def test_an_agent_may_not_act_for_another() -> None:
    with pytest.raises(Forbidden) as refusal:
        acting_for(TEAMMATE, "athena", registered("athena", "acme"))
    assert refusal.value.field == "agent_id"
