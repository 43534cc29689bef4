"""Rows of agents and of API keys."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import orjson

from tmws_core.domain.agent import Agent, Role
from tmws_core.domain.credential import ApiKey
from tmws_core.ports.holders import Holder

Row = tuple[Any, ...]
Time = Callable[[Any], datetime]
"""Returns the time of what a store has for one; it is not asked for a NULL."""

AGENT = "id, namespace, role, active, display_name, description, capabilities, metadata, created_at, updated_at"
"""The columns of `agents`, as `agent_of` and `agent_values` have them."""

KEY = "id, agent_id, digest, name, created_at, expires_at, revoked_at, last_used_at"
"""The columns of `api_keys`, as `key_of` has them."""


def agent_of(row: Row, time: Time) -> Agent:
    """Return the agent of a row."""
    id_, namespace, role, active, display_name, description, capabilities, metadata, created_at, updated_at = row
    return Agent(
        id=id_,
        namespace=namespace,
        role=Role(role),
        active=bool(active),
        display_name=display_name,
        description=description,
        capabilities=tuple(orjson.loads(capabilities)),
        metadata=orjson.loads(metadata),
        created_at=time(created_at),
        updated_at=time(updated_at or created_at),
    )


def agent_values(agent: Agent, written: Callable[[datetime], object]) -> tuple[object, ...]:
    """Return the row of an agent; `written` is how the store has a time."""
    return (
        agent.id,
        agent.namespace,
        agent.role.value,
        agent.active,
        agent.display_name,
        agent.description,
        orjson.dumps(agent.capabilities).decode(),
        orjson.dumps(agent.metadata).decode(),
        written(agent.created_at),
        written(agent.updated_at),
    )


def key_of(row: Row, time: Time) -> ApiKey:
    """Return the key of a row."""
    id_, agent_id, digest, name, created_at, *others = row
    expires_at, revoked_at, last_used_at = (None if moment is None else time(moment) for moment in others)
    return ApiKey(
        id=id_,
        agent_id=agent_id,
        digest=digest,
        name=name,
        created_at=time(created_at),
        expires_at=expires_at,
        revoked_at=revoked_at,
        last_used_at=last_used_at,
    )


def holder_of(row: Sequence[Any]) -> Holder:
    """Return the holder of a row of id, namespace, role, and whether it is active."""
    agent_id, namespace, role, active = row
    return Holder(agent_id=agent_id, namespace=namespace, role=Role(role), active=bool(active))
