"""Agents, and the caller: who asks, in which name, with which rights."""

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Protocol, get_args

import attrs

from tmws_core.domain.constraints import Items, JsonObject, Text
from tmws_core.domain.namespace import NAMESPACE, is_within
from tmws_core.errors import AgentInactive, InvalidField

AGENT_ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._@:+-]*"
AGENT_ID = Text(
    minimum=1,
    maximum=128,
    pattern=AGENT_ID_PATTERN,
    expected="an agent id (ASCII letters, digits and . _ @ : + -, starting with a letter or digit)",
)

Transport = Literal["cli", "file", "mcp-http", "python", "rest", "stdio"]
"""The ways by which a call comes; `file` is the file of agents that a server reads when it starts."""


class Permission(enum.Enum):
    """One thing that a caller may do."""

    MEMORY_READ = "memory:read"
    MEMORY_WRITE = "memory:write"
    SYSTEM_READ = "system:read"
    AGENTS_READ = "agents:read"
    MANAGE_NAMESPACE = "namespace:manage"
    MANAGE_AGENTS = "agents:manage"
    ACT_FOR_OTHERS = "agents:act-for"
    ANY_NAMESPACE = "namespaces:any"
    READ_ALL = "memory:read-all"
    ADMINISTER = "system:administer"


class Role(enum.Enum):
    """A named set of permissions."""

    READER = "reader"
    AGENT = "agent"
    NAMESPACE_ADMIN = "namespace_admin"
    ADMIN = "admin"


READER_PERMISSIONS = frozenset({Permission.MEMORY_READ, Permission.SYSTEM_READ, Permission.AGENTS_READ})
"""What every agent may do in its own name."""

AGENT_PERMISSIONS = READER_PERMISSIONS | {Permission.MEMORY_WRITE}
"""What an agent may do that is not told otherwise."""

OPERATOR_PERMISSIONS = frozenset(Permission)
"""The operator owns the machine and the data directory, and may do everything."""

ROLES: Mapping[Role, frozenset[Permission]] = {
    Role.READER: READER_PERMISSIONS,
    Role.AGENT: AGENT_PERMISSIONS,
    Role.NAMESPACE_ADMIN: AGENT_PERMISSIONS | {Permission.MANAGE_NAMESPACE},
    Role.ADMIN: OPERATOR_PERMISSIONS,
}
"""What each role may do; `namespace:manage` holds in the agent's own namespace and in those below it."""

CAPABILITIES = 32
"""Capabilities of one agent."""

PROFILE_BYTES = 16 * 1024
"""The largest metadata of an agent, as JSON."""

DISPLAY_NAME = Text(minimum=1, maximum=128)
DESCRIPTION = Text(minimum=1, maximum=2000)
CAPABILITY = Text(minimum=1, maximum=64)


@attrs.frozen(kw_only=True)
class Agent:
    """A registered agent: where it belongs, what it may do, and how it describes itself.

    An agent that is not `active` keeps what it owns and its name; nothing runs in its name.
    """

    id: str = attrs.field(validator=AGENT_ID)
    namespace: str = attrs.field(validator=NAMESPACE)
    role: Role = Role.AGENT
    active: bool = True
    display_name: str | None = attrs.field(default=None, validator=DISPLAY_NAME)
    description: str | None = attrs.field(default=None, validator=DESCRIPTION)
    capabilities: tuple[str, ...] = attrs.field(default=(), validator=Items(maximum=CAPABILITIES, each=CAPABILITY))
    metadata: dict[str, Any] = attrs.field(factory=dict, validator=JsonObject(PROFILE_BYTES))
    created_at: datetime
    updated_at: datetime


@attrs.frozen
class Belongings:
    """What an agent owns: how many memories, and the bytes of their contents, former texts and metadata.

    Texts are counted in UTF-8, metadata as compact JSON.
    """

    memories: int = 0
    bytes: int = 0


def _check_transport(_instance: object, attribute: "attrs.Attribute[Transport]", value: str) -> None:
    if value not in get_args(Transport):
        hint = f"Choose one of: {', '.join(get_args(Transport))}"
        raise InvalidField(name=attribute.name, reason=f"{value!r:.80} is no way in", hint=hint)


@attrs.frozen(kw_only=True)
class Caller:
    """Who makes a call: the agent in whose name it runs, its namespace, its rights, and by which way it came.

    The rights of one that is not `identified` are those of its registration, if it has one; so are the rights and the
    namespace of one that is `registered`, which are asked for again when it writes. Others have what they come with.
    """

    agent_id: str = attrs.field(validator=AGENT_ID)
    namespace: str = attrs.field(validator=NAMESPACE)
    permissions: frozenset[Permission] = AGENT_PERMISSIONS
    transport: Transport = attrs.field(default="python", validator=_check_transport)
    identified: bool = False
    registered: bool = False

    @property
    def is_independent(self) -> bool:
        """Tell whether nothing that is registered decides about its rights."""
        return self.identified and not self.registered

    def may(self, permission: Permission) -> bool:
        """Tell whether the caller has a permission."""
        return permission in self.permissions

    def manages(self, namespace: str) -> bool:
        """Tell whether the caller manages the agents of a namespace."""
        if self.may(Permission.MANAGE_AGENTS):
            return True
        return self.may(Permission.MANAGE_NAMESPACE) and is_within(namespace, self.namespace)


def operator(agent_id: str, namespace: str, transport: Transport) -> Caller:
    """Return the caller for whoever owns the machine."""
    return Caller(
        agent_id=agent_id,
        namespace=namespace,
        permissions=OPERATOR_PERMISSIONS,
        transport=transport,
        identified=True,
    )


class Registration(Protocol):
    """What decides about the rights of an agent that is registered."""

    @property
    def namespace(self) -> str:
        """Where it belongs."""
        ...

    @property
    def role(self) -> Role:
        """What it may do."""
        ...

    @property
    def active(self) -> bool:
        """Whether anything runs in its name."""
        ...


def identified(caller: Caller, registration: Registration | None) -> Caller:
    """Return the caller with the rights of its registration; AgentInactive if it was deactivated.

    An agent that is not registered has what the caller came with. A caller that only claims its name keeps the
    namespace that it claims.
    """
    if caller.is_independent or registration is None:
        return caller
    if not registration.active:
        raise AgentInactive(action=f"call as {caller.agent_id}", needs="an active agent", name="agent_id")
    namespace = registration.namespace if caller.registered else caller.namespace
    return attrs.evolve(caller, namespace=namespace, permissions=ROLES[registration.role])
