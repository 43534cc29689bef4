"""The composition root: the only module that names adapters, each imported only where it is chosen."""

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, nullcontext
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from tmws_adapters.announcing import announce_parts
from tmws_adapters.auditing import auditing_of
from tmws_adapters.licensing import announce, licensing_of
from tmws_adapters.local.version import VERSION
from tmws_adapters.sealing import cursor_keys
from tmws_adapters.settings import Settings
from tmws_adapters.stores import Housekeeping, Keeper, Store, open_store
from tmws_core.admission import Admission, Quota
from tmws_core.app import App
from tmws_core.domain.reranking import Boosts
from tmws_core.embedding import CircuitBreaker, StoreEmbedder
from tmws_core.identity import Registry, Writing
from tmws_core.messages.paging import Cursors
from tmws_core.ports.bus import Bus
from tmws_core.ports.cache import Cache
from tmws_core.ports.embedder import Embedder
from tmws_core.ports.holders import Holders
from tmws_core.ports.lexical import LexicalIndex
from tmws_core.ports.limits import RateLimiter
from tmws_core.ports.metrics import Metrics
from tmws_core.ports.models import Models
from tmws_core.ports.storage import Storage
from tmws_core.ports.system import Clock, Ids
from tmws_core.ports.vector import VectorIndex
from tmws_core.preparing import Preparing
from tmws_core.services.agents import Agents
from tmws_core.services.auditing import Auditing
from tmws_core.services.browsing import Browsing
from tmws_core.services.explaining import Explaining
from tmws_core.services.health import Health
from tmws_core.services.indexing import Indexing, SetAside
from tmws_core.services.licensing import Licensing
from tmws_core.services.memories import Memories
from tmws_core.services.recall import Recall
from tmws_core.trail import Trail
from tmws_core.usage import Usage

if TYPE_CHECKING:
    from tmws_adapters.partitioned import Follower
    from tmws_adapters.redis import Redis

logger = logging.getLogger("tmws")

MEGABYTE = 1_000_000

QUERY_CACHE = 1000
"""Query vectors that are remembered: 1.5 MB at 384 values, 4 MB at 1024."""

QUERY_TIMEOUT = timedelta(seconds=5)
"""How long a search waits for the vector of its query: a loaded model needs 10 to 150 ms, and words alone find too.

Where one call is all that comes, nothing has loaded the model before."""

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
"""More threads made exact search four times slower on two cores; numpy is imported later than this module."""


@attrs.frozen(kw_only=True)
class Parts:
    """The adapters that the settings choose, open.

    `usage` is None where uses do not count, `follower` where no approximate index is used, `keeper` where no vectors of
    a server are kept in memory, `redis` where a server shares nothing with others, `housekeeping` where the store needs
    nothing now and then. `cache` may be shared with other servers, `own` never is. `beside` tells by how many bytes the
    replicas of the store are behind, by their names; `aside` has the texts that the embedder refuses.
    """

    storage: Storage
    holders: Holders
    models: Models
    lexical: LexicalIndex
    vectors: VectorIndex
    embedder: StoreEmbedder
    cache: Cache
    own: Cache
    bus: Bus
    license: Licensing
    metrics: Metrics
    clock: Clock
    ids: Ids
    trail: Trail
    auditing: Auditing
    limiter: RateLimiter
    usage: Usage | None = None
    follower: "Follower | None" = None
    keeper: Keeper | None = None
    redis: "Redis | None" = None
    housekeeping: Housekeeping | None = None
    beside: Mapping[str, Callable[[], Awaitable[int | None]]] = attrs.field(factory=dict)
    aside: SetAside = attrs.field(factory=SetAside)


@attrs.frozen(kw_only=True)
class Shared:
    """What is of this process alone, as `own` always is, or, with `redis`, of all servers that name the same one."""

    cache: Cache
    own: Cache
    limiter: RateLimiter
    bus: Bus
    redis: "Redis | None" = None


def version() -> str:
    """Return the version of this distribution."""
    return VERSION


@asynccontextmanager
async def open_app(
    settings: Settings, *, any_model: bool = False, serving: bool = False, once: bool = False
) -> AsyncIterator[App]:
    """Open the store that the settings name and everything around it; what it opens it closes.

    Each step is one line in the log. While the app is open, texts that were stored without a vector get theirs in the
    background. With `any_model` a store whose vectors were made by another model is opened, too: only what needs a
    vector of it is refused then. With `serving` the licence has to hold; otherwise one that does not is a warning. With
    `once` the app is for one call: its search waits for the model to load as long as storing does.

    Raises:
        ConfigurationError: a setting cannot be honoured.
        LicenseInvalid: a server may not start with this licence.
        StorageUnavailable: the store cannot be opened; it and its subclasses name the remedy.
        ModelMismatch: the store's vectors were made by another model.
    """
    async with (
        open_parts(settings) as parts,
        begun(settings, parts, any_model=any_model, serving=serving, once=once) as app,
    ):
        yield app


@asynccontextmanager
async def begun(
    settings: Settings, parts: Parts, *, any_model: bool = False, serving: bool = False, once: bool = False
) -> AsyncIterator[App]:
    """Begin the work over open adapters: the second half of open_app."""
    await _announce(settings, parts, any_model=any_model, serving=serving)
    indexing = Indexing(storage=parts.storage, embedder=parts.embedder, bus=parts.bus, aside=parts.aside)
    following = _running(parts.follower.run) if parts.follower else nullcontext()
    keeping = _running(parts.keeper.run) if parts.keeper else nullcontext()
    counting = _running(parts.usage.run) if parts.usage else nullcontext()
    licensed = _running(partial(parts.license.run, announce)) if serving else nullcontext()
    housekeeping = _running(partial(parts.housekeeping.run, parts.clock)) if parts.housekeeping else nullcontext()
    signing = _running(parts.auditing.run) if settings.audit_log_enabled else nullcontext()
    sharing = _running(parts.redis.run) if parts.redis else nullcontext()
    async with (
        sharing,
        _running(parts.trail.run),
        signing,
        _running(indexing.run),
        counting,
        following,
        keeping,
        housekeeping,
        licensed,
    ):
        if parts.redis:
            await parts.redis.server.attempted()
        with closing(compose(settings, parts, once=once)) as app:
            yield app


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Parts]:
    """Open the adapters alone, without a line in the log and without work in the background; errors as in open_app."""
    from tmws_adapters.exact import open_exact  # noqa: PLC0415 - see the module's first line
    from tmws_adapters.inprocess import InprocessMetrics  # noqa: PLC0415
    from tmws_adapters.system import SystemClock, SystemIds  # noqa: PLC0415

    clock, share = SystemClock(), shared(settings)
    async with open_store(settings) as store, _open_embedder(settings) as source:
        embedder = StoreEmbedder(CircuitBreaker(source, clock, share.bus), store.storage, clock)
        async with (
            open_exact(embedder.vectors) as exact,
            _open_vectors(settings, store, exact, embedder) as (vectors, lexical, follower, keeper),
        ):
            yield Parts(
                storage=store.storage,
                holders=store.holders,
                models=store.models,
                lexical=lexical,
                vectors=vectors,
                embedder=embedder,
                cache=share.cache,
                own=share.own,
                bus=share.bus,
                limiter=share.limiter,
                redis=share.redis,
                license=licensing_of(settings, store.storage, store.license_clock, clock),
                metrics=InprocessMetrics(),
                clock=clock,
                ids=SystemIds(clock),
                trail=Trail(storage=store.storage, clock=clock, enabled=settings.audit_log_enabled),
                auditing=auditing_of(settings, store.storage, clock),
                usage=Usage(storage=store.storage, clock=clock) if settings.search_use else None,
                follower=follower,
                keeper=keeper,
                housekeeping=store.housekeeping,
                beside=store.beside,
            )


def shared(settings: Settings) -> Shared:
    """Return what servers may share; nothing is connected yet.

    Raises:
        ConfigurationError: TMWS_REDIS_URL names no Redis.
    """
    from tmws_adapters.inprocess import InprocessBus, LruCache  # noqa: PLC0415 - see the module's first line

    own = LruCache(QUERY_CACHE)
    alone = Shared(cache=own, own=own, limiter=rate_limiter(), bus=InprocessBus())
    if not settings.redis_url:
        return alone
    from tmws_adapters.redis import Local, redis_at  # noqa: PLC0415

    local = Local(cache=alone.cache, limiter=alone.limiter, bus=alone.bus)
    redis = redis_at(settings.redis_url, local, pool_size=settings.redis_pool_size)
    return Shared(cache=redis.cache, own=own, limiter=redis.limiter, bus=redis.bus, redis=redis)


def rate_limiter() -> RateLimiter:
    """Return what counts the requests of one HTTP server."""
    from tmws_adapters.inprocess import InprocessLimiter  # noqa: PLC0415 - see the module's first line
    from tmws_adapters.system import SystemClock  # noqa: PLC0415

    return InprocessLimiter(SystemClock())


@asynccontextmanager
async def _open_vectors(
    settings: Settings, store: Store, exact: VectorIndex, embedder: StoreEmbedder
) -> AsyncIterator[tuple[VectorIndex, LexicalIndex, "Follower | None", Keeper | None]]:
    if not settings.uses_chroma:
        if not settings.uses_pgvector or store.vectors is None:
            yield exact, store.lexical, None, None
        elif settings.vector_backend == "pgvector":
            yield store.vectors, store.lexical, None, None
        else:
            index, lexical, keeper = store.vectors.keeping(exact, settings.vector_memory_mb * MEGABYTE)
            yield index, lexical, None, keeper
        return
    from tmws_adapters.chroma import HnswParameters, open_chroma  # noqa: PLC0415

    # Imports numpy, before the threads that load Chroma and the embedder both do: at the same time they break it.
    from tmws_adapters.partitioned import open_partitioned  # noqa: PLC0415

    parameters = HnswParameters(
        space=settings.chroma_hnsw_space,
        m=settings.chroma_hnsw_m,
        ef_construction=settings.chroma_hnsw_ef_construction,
        ef_search=settings.chroma_hnsw_ef_search,
    )
    async with (
        open_chroma(
            directory=settings.chroma_directory,
            url=settings.chroma_url or None,
            collection=settings.chroma_collection,
            parameters=parameters,
        ) as derived,
        open_partitioned(
            exact,
            derived,
            store.storage,
            fallback=_fallback(settings),
            room=settings.chroma_cache_size,
            follow=False,
            asking=embedder.fitting,
        ) as planned,
    ):
        yield planned, store.lexical, planned.follower, None


@asynccontextmanager
async def _running(work: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run `work` beside the block and end it with the block; an error of the block is raised as it is."""
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            yield
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise (group.exceptions[0] if len(group.exceptions) == 1 else group) from None


def _fallback(settings: Settings) -> str:
    """Return the `search_source` while something of a search is missing."""
    return f"{settings.store_kind}_fallback"


def _open_embedder(settings: Settings) -> AbstractAsyncContextManager[Embedder]:
    if settings.uses_ollama:
        from tmws_adapters.ollama import open_ollama  # noqa: PLC0415

        return open_ollama(settings.ollama_base_url, settings.ollama_model)
    from tmws_adapters.onnx import open_onnx  # noqa: PLC0415

    return open_onnx(settings.onnx_model_dir)


def compose(settings: Settings, parts: Parts, *, once: bool = False) -> App:
    """Return the app over open adapters; `once` as in open_app."""
    quota = Quota(memories=settings.quota_memories, bytes=settings.quota_bytes)
    admission = Admission(license=parts.license, quota=quota)
    cursors = Cursors(cursor_keys(settings, parts.clock))
    writing = Writing(parts.storage, parts.trail)
    preparing = Preparing(parts.storage, parts.embedder, parts.clock, settings.timeout / 2)
    memories = Memories(
        storage=parts.storage,
        writing=writing,
        preparing=preparing,
        bus=parts.bus,
        clock=parts.clock,
        ids=parts.ids,
        admission=admission,
        audited=settings.audit_log_enabled,
    )
    recall = Recall(
        storage=parts.storage,
        lexical=parts.lexical,
        vectors=parts.vectors,
        embedder=parts.embedder,
        # Elsewhere other weights may have made a vector than those that were proved before and after.
        cache=parts.cache if parts.embedder.epoch is None else parts.own,
        clock=parts.clock,
        cursors=cursors,
        fallback=_fallback(settings),
        embed_timeout=settings.timeout / 2 if once else min(QUERY_TIMEOUT, settings.timeout / 2),
        boosts=Boosts(
            recency=settings.search_recency,
            half_life=timedelta(days=settings.search_half_life_days),
            importance=settings.search_importance,
            use=settings.search_use,
        ),
    )
    health = Health(
        storage=parts.storage,
        vectors=parts.vectors,
        embedder=parts.embedder,
        license=parts.license,
        metrics=parts.metrics,
        clock=parts.clock,
        version=version(),
        environment=settings.environment,
        database=settings.store_kind,
        started=parts.clock.monotonic(),
        refused=parts.aside,
        beside={**parts.beside, **({"redis": parts.redis.health} if parts.redis else {})},
    )
    browsing = Browsing(
        storage=parts.storage, clock=parts.clock, witness=parts.trail, cursors=cursors, usage=parts.usage
    )
    agents = Agents(
        storage=parts.storage,
        writing=writing,
        clock=parts.clock,
        admission=admission,
        cursors=cursors,
        audited=settings.audit_log_enabled,
    )
    return App(
        (memories, browsing, recall, agents, Explaining(storage=parts.storage), health),
        identify=Registry(parts.holders).identify,
        witness=parts.trail,
        clock=parts.clock,
        metrics=parts.metrics,
        request_timeout=settings.timeout,
    )


async def _announce(settings: Settings, parts: Parts, *, any_model: bool, serving: bool) -> None:
    for name in settings.without_effect:
        logger.warning("⚠️ %s has no effect in this version", name)
    if serving:
        license_ = await parts.license.begin(
            required=settings.needs_license,
            strict=settings.license_strict_mode,
            recorded_as=settings.agent_id if settings.audit_log_enabled else None,
        )
    else:
        license_ = await parts.license.current()
    announce(license_, parts.license.problem)
    await announce_parts(
        parts.storage, parts.vectors, parts.embedder, asks_index=parts.follower is not None, any_model=any_model
    )
