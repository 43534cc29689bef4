"""Agents, and the caller: who asks, in which name, with which rights."""

import enum
from datetime import datetime

import attrs

from tmws_core.domain.constraints import Text
from tmws_core.domain.namespace import NAMESPACE

AGENT_ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._@:+-]*"
AGENT_ID = Text(
    minimum=1,
    maximum=128,
    pattern=AGENT_ID_PATTERN,
    expected="an agent id (letters, digits and . _ @ : + -, starting with a letter or digit)",
)


class Permission(enum.Enum):
    """One thing that a caller may do."""

    MEMORY_READ = "memory:read"
    MEMORY_WRITE = "memory:write"
    SYSTEM_READ = "system:read"
    ACT_FOR_OTHERS = "agents:act-for"
    ANY_NAMESPACE = "namespaces:any"
    READ_ALL = "memory:read-all"
    ADMINISTER = "system:administer"


AGENT_PERMISSIONS = frozenset({Permission.MEMORY_READ, Permission.MEMORY_WRITE, Permission.SYSTEM_READ})
"""What every agent may do in its own name."""

OPERATOR_PERMISSIONS = frozenset(Permission)
"""The operator owns the machine and the data directory, and may do everything."""


@attrs.frozen(kw_only=True)
class Agent:
    """An agent that has used the store."""

    id: str = attrs.field(validator=AGENT_ID)
    namespace: str = attrs.field(validator=NAMESPACE)
    created_at: datetime


@attrs.frozen(kw_only=True)
class Caller:
    """Who makes a call: the agent in whose name it runs, its namespace, its rights, and by which way it came."""

    agent_id: str = attrs.field(validator=AGENT_ID)
    namespace: str = attrs.field(validator=NAMESPACE)
    permissions: frozenset[Permission] = AGENT_PERMISSIONS
    transport: str = "python"

    def may(self, permission: Permission) -> bool:
        """Tell whether the caller has a permission."""
        return permission in self.permissions


def operator(agent_id: str, namespace: str, transport: str) -> Caller:
    """Return the caller for whoever owns the machine."""
    return Caller(agent_id=agent_id, namespace=namespace, permissions=OPERATOR_PERMISSIONS, transport=transport)
