"""Hypothesis strategies for callers and memories of a small world, where agents and namespaces often meet."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from tmws_core.domain.agent import AGENT_PERMISSIONS, OPERATOR_PERMISSIONS, Caller
from tmws_core.domain.memory import AccessLevel, Memory, MemoryType, Share, SharePermission

MOMENT = datetime(2026, 1, 31, 12, tzinfo=UTC)

agent_ids = st.sampled_from(["athena", "artemis", "hestia"])
namespaces = st.sampled_from(["acme", "acme/backend", "globex"])
shares = st.lists(
    st.builds(Share, agent_ids, st.sampled_from(SharePermission)), max_size=3, unique_by=lambda share: share.agent_id
).map(tuple)

callers = st.builds(
    Caller,
    agent_id=agent_ids,
    namespace=namespaces,
    permissions=st.sampled_from([AGENT_PERMISSIONS, OPERATOR_PERMISSIONS]),
)

memories = st.builds(
    Memory,
    id=st.uuids().map(str),
    document=st.integers(1, 1000),
    agent_id=agent_ids,
    namespace=namespaces,
    content=st.just("The deploy key lives in the vault."),
    memory_type=st.sampled_from(MemoryType),
    importance=st.floats(0, 1),
    access_level=st.sampled_from(AccessLevel),
    shared_with=shares,
    metadata=st.just({}),
    written_by=agent_ids,
    transport=st.just("python"),
    created_at=st.just(MOMENT),
    updated_at=st.just(MOMENT),
)
