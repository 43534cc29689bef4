"""Requests and answers about the service itself."""

from datetime import datetime

import attrs

from tmws_core.operation import Request


@attrs.frozen(kw_only=True)
class ComponentHealth:
    """One part: `up` or `down`, how long it took to find out, and why it is down or does not do all it should.

    `lag` counts the memories that wait for it: for a vector, or to come into the index; of a replica, the bytes that
    it has not replayed yet. `waiting_since` is when the oldest text that waits for a vector was stored or changed last.
    `pool` has the connections of this process in use, those that are idle, and the limit.
    `note` is what should be changed although it does all it should.
    """

    status: str
    latency_ms: float
    reason: str | None = None
    lag: int | None = None
    waiting_since: datetime | None = None
    pool: dict[str, int] | None = None
    note: str | None = None


@attrs.frozen(kw_only=True)
class HealthReport:
    """The state of the service and of each of its parts."""

    status: str
    version: str
    environment: str
    database: str
    ollama: str
    license: str
    components: dict[str, ComponentHealth]
    timestamp: datetime


@attrs.frozen(kw_only=True)
class HealthCheck(Request[HealthReport]):
    """Ask for the state of the service."""


@attrs.frozen(kw_only=True)
class OperationCounts:
    """How an operation did since the start; times in milliseconds."""

    calls: int
    failures: int
    p50_ms: float
    p95_ms: float


@attrs.frozen(kw_only=True)
class SystemStats:
    """Figures of the running service: of the memories that the caller sees, and to administrators of all there is."""

    success: bool = True
    version: str
    uptime_seconds: float
    memories: int
    unembedded: int
    agents: int | None = None
    bytes_on_disk: int | None = None
    index: dict[str, int] = attrs.field(factory=dict)
    operations: dict[str, OperationCounts] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class GetSystemStats(Request[SystemStats]):
    """Ask for the figures."""
