"""Who an agent is, what its role lets it do, and which agents exist for it."""

from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.memories import MOMENT, agent_ids, namespaces
from tmws_core.domain.access import acting_for, knows, knows_whole, may_manage, may_write
from tmws_core.domain.agent import ROLES, Agent, Caller, Permission, Role, identified, operator
from tmws_core.domain.memory import AccessLevel, Memory, MemoryType
from tmws_core.domain.namespace import is_within
from tmws_core.errors import AgentInactive, ContentTooLarge, Forbidden, InvalidField

RANKS = (Role.READER, Role.AGENT, Role.NAMESPACE_ADMIN, Role.ADMIN)

roles = st.sampled_from(Role)
agents = st.builds(
    Agent,
    id=agent_ids,
    namespace=namespaces,
    role=roles,
    active=st.booleans(),
    created_at=st.just(MOMENT),
    updated_at=st.just(MOMENT),
)
callers = st.builds(
    lambda agent_id, namespace, role: Caller(agent_id=agent_id, namespace=namespace, permissions=ROLES[role]),
    agent_ids,
    namespaces,
    roles,
)


def agent(**changes: Any) -> Agent:
    fields: dict[str, Any] = {"id": "hera", "namespace": "acme", "created_at": MOMENT, "updated_at": MOMENT} | changes
    return Agent(**fields)


def caller(role: Role, namespace: str = "acme") -> Caller:
    return Caller(agent_id="boss", namespace=namespace, permissions=ROLES[role])


def test_each_role_may_do_all_that_the_one_below_may_and_more() -> None:
    assert set(RANKS) == set(Role)
    assert all(ROLES[low] < ROLES[high] for low, high in pairwise(RANKS))


@pytest.mark.parametrize(
    ("namespace", "parent", "expected"),
    [
        ("acme", "acme", True),
        ("acme/backend", "acme", True),
        ("acme/backend/api", "acme", True),
        ("acme2", "acme", False),
        ("acme", "acme/backend", False),
        ("acm", "acme", False),
        ("other/acme", "acme", False),
    ],
)
def test_a_namespace_holds_itself_and_those_below(namespace: str, parent: str, *, expected: bool) -> None:
    assert is_within(namespace, parent) is expected


@pytest.mark.parametrize(("role", "where"), [*product(Role, ("acme", "acme/backend", "acme2", "globex"))])
def test_a_role_manages_agents_where_it_should(role: Role, where: str) -> None:
    expected = {
        Role.READER: set[str](),
        Role.AGENT: set[str](),
        Role.NAMESPACE_ADMIN: {"acme", "acme/backend"},
        Role.ADMIN: {"acme", "acme/backend", "acme2", "globex"},
    }
    assert caller(role).manages(where) == (where in expected[role])


@given(callers, agents)
def test_for_an_agent_exist_itself_its_namespace_and_those_that_it_manages(caller: Caller, other: Agent) -> None:
    expected = other.id == caller.agent_id or other.namespace == caller.namespace or caller.manages(other.namespace)
    assert knows(caller, other) == expected
    assert knows_whole(caller, other) == (other.id == caller.agent_id or caller.manages(other.namespace))


@given(callers, agents)
def test_acting_for_another_never_gives_more_than_both_may_do(caller: Caller, other: Agent) -> None:
    try:
        acting = acting_for(caller, other.id, other)
    except Forbidden:
        allowed = caller.manages(other.namespace) and ROLES[other.role] <= caller.permissions
        assert not (other.active and allowed)
        return
    assert other.active
    assert acting.permissions == ROLES[other.role] & caller.permissions
    assert (acting.agent_id, acting.namespace) == (other.id, other.namespace)


def test_acting_for_somebody_elsewhere_is_refused_as_for_nobody() -> None:
    refusals = set()
    for other in (None, agent(namespace="globex"), agent(namespace="globex", active=False)):
        with pytest.raises(Forbidden) as refusal:
            acting_for(caller(Role.NAMESPACE_ADMIN), "hera", other)
        refusals.add((type(refusal.value), refusal.value.message))
    assert len(refusals) == 1


def test_nobody_acts_for_an_agent_that_may_do_more() -> None:
    boss = caller(Role.NAMESPACE_ADMIN)
    assert acting_for(boss, "hera", agent(role=Role.NAMESPACE_ADMIN)).agent_id == "hera"
    with pytest.raises(Forbidden):
        acting_for(boss, "hera", agent(role=Role.ADMIN))


def test_a_caller_gets_the_rights_of_its_registration() -> None:
    coming = Caller(agent_id="hera", namespace="acme")
    assert identified(coming, agent(role=Role.ADMIN)).permissions == ROLES[Role.ADMIN]
    assert identified(coming, None) == coming
    with pytest.raises(AgentInactive):
        identified(coming, agent(active=False))
    proven = operator("hera", "acme", "cli")
    assert identified(proven, agent(role=Role.READER, active=False)) == proven


def test_who_may_not_write_changes_nothing_not_even_its_own() -> None:
    own = Memory(
        id="01890a5d-ac96-774b-bcce-b302099a8057",
        document=1,
        agent_id="boss",
        namespace="acme",
        content="Mine.",
        memory_type=MemoryType.SEMANTIC,
        importance=0.5,
        access_level=AccessLevel.PRIVATE,
        metadata={},
        written_by="boss",
        transport="python",
        created_at=MOMENT,
        updated_at=MOMENT,
    )
    for role in Role:
        expected = Permission.MEMORY_WRITE in ROLES[role]
        assert may_write(caller(role), own) is may_manage(caller(role), own) is expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "-hera"},
        {"id": "hera hera"},
        {"id": "h" * 129},
        {"id": "hera\n"},
        {"namespace": "acme/"},
        {"namespace": "/acme"},
        {"namespace": "a/b/c/d/e/f/g/h/i"},
        {"display_name": ""},
        {"display_name": "a\x07b"},
        {"description": "d" * 2001},
        {"capabilities": ("c",) * 33},
        {"capabilities": ("c" * 65,)},
        {"metadata": {"k": float("nan")}},
    ],
    ids=str,
)
def test_a_malformed_agent_is_refused_with_the_field(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidField) as refusal:
        agent(**wrong)
    [name] = wrong
    assert refusal.value.field is not None
    assert refusal.value.field.startswith(name)


def test_metadata_of_an_agent_is_bounded() -> None:
    with pytest.raises(ContentTooLarge):
        agent(metadata={"k": "v" * 20_000})
    assert agent(metadata={"k": "v" * 16_000}).metadata
