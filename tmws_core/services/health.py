"""How the service is: each part asked, nothing hidden."""

from collections.abc import Awaitable, Callable, Mapping, Sized
from datetime import datetime
from typing import TypeVar

import anyio
import attrs

from tmws_core.domain.access import visibility_of
from tmws_core.domain.agent import Caller, Permission
from tmws_core.errors import PartUnavailable, StorageUnavailable
from tmws_core.messages.system import (
    ComponentHealth,
    GetSystemStats,
    HealthCheck,
    HealthReport,
    OperationCounts,
    SystemStats,
)
from tmws_core.operation import Effect, operation
from tmws_core.ports.embedder import Embedder
from tmws_core.ports.license import LicenseSource
from tmws_core.ports.metrics import Metrics
from tmws_core.ports.storage import Storage
from tmws_core.ports.system import Clock
from tmws_core.ports.vector import VectorIndex

Answer = TypeVar("Answer")

PATIENCE = 5.0
"""Seconds that a part has to answer; one that works needs milliseconds, and a model that is loaded first a second."""

SCARCE_BYTES = 16 * 1024 * 1024
"""Room on the store's disk below which writes may fail: 1,000 memories stored at once take 4 MiB of the log and as much
of the file, and the next ones must not be the last."""


@attrs.frozen(kw_only=True)
class Health:
    """Reports on the running service; `database` is the name of the store in the components, such as `sqlite`.

    `refused` are the texts that the embedder refuses. `beside` has further parts by their names, without which
    everything goes on; each returns what it lags behind, if that can be told, or raises PartUnavailable.
    """

    storage: Storage
    vectors: VectorIndex
    embedder: Embedder
    license: LicenseSource
    metrics: Metrics
    clock: Clock
    version: str
    environment: str
    database: str
    started: float
    beside: Mapping[str, Callable[[], Awaitable[int | None]]] = attrs.field(factory=dict)
    refused: Sized = ()

    @operation(
        "health_check", toolset="system", permission=Permission.SYSTEM_READ, effect=Effect.READ, command="health-check"
    )
    async def check(self, caller: Caller, request: HealthCheck) -> HealthReport:  # noqa: ARG002 - asks for nothing
        """Tell how the service and its parts are."""
        components: dict[str, ComponentHealth] = {}
        ollama, embedder = "not_configured", ""
        unembedded: int | None = None
        since: datetime | None = None

        async def ask_storage() -> None:
            nonlocal unembedded, since
            component, storage = await self._timed(self.storage.health)
            if storage is not None:
                reason = storage.problem or (_scarce(storage.bytes_free) if storage.bytes_free < SCARCE_BYTES else None)
                pool = None if storage.pool is None else attrs.asdict(storage.pool)
                note = None if storage.caution is None else f"{storage.caution.reason}. {storage.caution.remedy}"
                component = attrs.evolve(component, reason=reason, pool=pool, note=note)
                unembedded, since = storage.unembedded, storage.waiting_since
            components[self.database] = component

        async def ask_vectors() -> None:
            component, figures = await self._timed(self.vectors.health)
            components[self.vectors.source] = attrs.evolve(component, lag=(figures or {}).get("waiting"))

        async def ask_embedder() -> None:
            nonlocal ollama, embedder
            component, health = await self._timed(self.embedder.health)
            if health is None:
                return
            embedder = health.kind
            components[embedder] = (
                component if health.up else attrs.evolve(component, status="down", reason=health.reason)
            )
            if embedder == "ollama":
                ollama = "connected" if health.up else "disconnected"

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._ask_beside, components)
            tasks.start_soon(ask_storage)
            tasks.start_soon(ask_vectors)
            tasks.start_soon(ask_embedder)
        licence = await self.license.current()
        if licence.status in {"grace", "expired"}:
            reason = f"the licence {licence.warning}"
            components["license"] = ComponentHealth(status="up", latency_ms=0.0, reason=reason)
        if embedder:
            note = _refused(len(self.refused))
            components[embedder] = attrs.evolve(components[embedder], lag=unembedded, waiting_since=since, note=note)
        stored = components[self.database].status == "up"
        complete = all(component.status == "up" and not component.reason for component in components.values())
        return HealthReport(
            status=("healthy" if complete else "degraded") if stored else "unhealthy",
            version=self.version,
            environment=self.environment,
            database="connected" if stored else "disconnected",
            ollama=ollama,
            license=licence.status,
            components=components if caller.may(Permission.ADMINISTER) else _without_counts(components),
            timestamp=self.clock.now(),
        )

    @operation(
        "get_system_stats",
        toolset="system",
        permission=Permission.SYSTEM_READ,
        effect=Effect.READ,
        raises=(StorageUnavailable,),
        command="get-stats",
    )
    async def stats(self, caller: Caller, request: GetSystemStats) -> SystemStats:  # noqa: ARG002 - asks for nothing
        """Return figures of the running service."""
        uptime = round(self.clock.monotonic() - self.started, 3)
        if not caller.may(Permission.ADMINISTER):
            async with self.storage.read() as snapshot:
                seen = await snapshot.memories.stats(visibility_of(caller))
            return SystemStats(
                version=self.version,
                uptime_seconds=uptime,
                memories=seen.total,
                unembedded=seen.total - seen.embedded,
            )
        storage = await self.storage.health()
        _, index = await self._timed(self.vectors.health)
        async with self.storage.read() as snapshot:
            agents = await snapshot.agents.count()
        return SystemStats(
            version=self.version,
            uptime_seconds=uptime,
            memories=storage.memories,
            unembedded=storage.unembedded,
            agents=agents,
            bytes_on_disk=storage.bytes_on_disk,
            index=index or {},
            operations={
                name: OperationCounts(**attrs.asdict(figures)) for name, figures in self.metrics.figures().items()
            },
        )

    async def _ask_beside(self, components: dict[str, ComponentHealth]) -> None:
        async def ask_one(name: str, ask: Callable[[], Awaitable[int | None]]) -> None:
            component, lag = await self._timed(ask)
            components[name] = attrs.evolve(component, lag=lag)

        async with anyio.create_task_group() as tasks:
            for each in self.beside.items():
                tasks.start_soon(ask_one, *each)

    async def _timed(self, ask: Callable[[], Awaitable[Answer]]) -> tuple[ComponentHealth, Answer | None]:
        started = self.clock.monotonic()
        try:
            with anyio.fail_after(PATIENCE):
                answer = await ask()
        except PartUnavailable as error:
            return ComponentHealth(status="down", latency_ms=self._since(started), reason=error.message), None
        except TimeoutError:
            reason = f"it did not answer within {PATIENCE:g} seconds"
            return ComponentHealth(status="down", latency_ms=self._since(started), reason=reason), None
        return ComponentHealth(status="up", latency_ms=self._since(started)), answer

    def _since(self, started: float) -> float:
        return round((self.clock.monotonic() - started) * 1000, 3)


def _without_counts(components: dict[str, ComponentHealth]) -> dict[str, ComponentHealth]:
    """Return the components without what others have to do with: how much waits for them, who uses them, and how."""
    return {
        name: attrs.evolve(component, lag=None, waiting_since=None, pool=None, note=None)
        for name, component in components.items()
    }


def _refused(texts: int) -> str | None:
    if not texts:
        return None
    many = "1 text is" if texts == 1 else f"{texts} texts are"
    return f"{many} refused by the model, found by words only, and tried again within the hour"


def _scarce(free: int) -> str:
    mebibytes = free / (1024 * 1024)
    return f"the disk has {mebibytes:.1f} MiB left; writes fail when it is full. Free some space"
