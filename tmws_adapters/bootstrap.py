"""The composition root: the only module that names adapters, each imported only where it is chosen."""

import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from tmws_adapters.local.version import VERSION
from tmws_adapters.settings import Settings
from tmws_core.app import App
from tmws_core.domain.reranking import Boosts
from tmws_core.embedding import CircuitBreaker, StoreEmbedder
from tmws_core.errors import ModelMismatch
from tmws_core.identity import Registry
from tmws_core.ports.bus import Bus
from tmws_core.ports.cache import Cache
from tmws_core.ports.embedder import Embedder
from tmws_core.ports.lexical import LexicalIndex
from tmws_core.ports.license import LicenseSource
from tmws_core.ports.metrics import Metrics
from tmws_core.ports.models import Models
from tmws_core.ports.storage import Storage
from tmws_core.ports.system import Clock, Ids
from tmws_core.ports.vector import VectorIndex
from tmws_core.services.browsing import Browsing
from tmws_core.services.health import Health
from tmws_core.services.indexing import Indexing
from tmws_core.services.memories import Memories
from tmws_core.services.recall import Recall
from tmws_core.usage import Usage

if TYPE_CHECKING:
    from tmws_adapters.partitioned import Follower

logger = logging.getLogger("tmws")

FALLBACK = "sqlite_fallback"
"""The `search_source` while something of a search is missing."""

QUERY_CACHE = 1000
"""Query vectors that are remembered: 1.5 MB at 384 values, 4 MB at 1024."""

QUERY_TIMEOUT = timedelta(seconds=5)
"""How long a search waits for the vector of its query: a loaded model needs 10 to 150 ms, and words alone find too."""

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
"""More threads made exact search four times slower on two cores; numpy is imported later than this module."""


@attrs.frozen(kw_only=True)
class Parts:
    """The adapters that the settings choose, open.

    `usage` is None where uses do not count, `follower` where no approximate index is used.
    """

    storage: Storage
    models: Models
    lexical: LexicalIndex
    vectors: VectorIndex
    embedder: StoreEmbedder
    cache: Cache
    bus: Bus
    license: LicenseSource
    metrics: Metrics
    clock: Clock
    ids: Ids
    usage: Usage | None = None
    follower: "Follower | None" = None


def version() -> str:
    """Return the version of this distribution."""
    return VERSION


@asynccontextmanager
async def open_app(settings: Settings, *, any_model: bool = False) -> AsyncIterator[App]:
    """Open the store that the settings name and everything around it; what it opens it closes.

    Each step is one line in the log. While the app is open, texts that were stored without a vector get theirs in the
    background. With `any_model` a store whose vectors were made by another model is opened, too: only what needs a
    vector of it is refused then.

    Raises:
        ConfigurationError: a setting cannot be honoured.
        StorageUnavailable: the store cannot be opened; it and its subclasses name the remedy.
        ModelMismatch: the store's vectors were made by another model.
    """
    async with open_parts(settings) as parts:
        await _announce(settings, parts, any_model=any_model)
        indexing = Indexing(storage=parts.storage, embedder=parts.embedder, bus=parts.bus)
        following = _running(parts.follower.run) if parts.follower else nullcontext()
        counting = _running(parts.usage.run) if parts.usage else nullcontext()
        async with _running(indexing.run), counting, following:
            yield compose(settings, parts)


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Parts]:
    """Open the adapters alone, without a line in the log and without work in the background; errors as in open_app."""
    from tmws_adapters.exact import open_exact  # noqa: PLC0415 - see the module's first line
    from tmws_adapters.inprocess import FreeLicense, InprocessBus, InprocessMetrics, LruCache  # noqa: PLC0415
    from tmws_adapters.sqlite import BUSY_TIMEOUT, open_sqlite  # noqa: PLC0415
    from tmws_adapters.system import SystemClock, SystemIds  # noqa: PLC0415

    clock, bus = SystemClock(), InprocessBus()
    # A statement that waits for the lock cannot be cancelled when the request has run out of time.
    patience = min(BUSY_TIMEOUT, settings.timeout / 2)
    async with (
        open_sqlite(settings.sqlite_path, busy_timeout=patience) as store,
        _open_embedder(settings) as source,
    ):
        embedder = StoreEmbedder(CircuitBreaker(source, clock, bus), store.storage)
        async with (
            open_exact(embedder.vectors) as exact,
            _open_vectors(settings, exact, store.storage, embedder) as (vectors, follower),
        ):
            yield Parts(
                storage=store.storage,
                models=store.models,
                lexical=store.lexical,
                vectors=vectors,
                embedder=embedder,
                cache=LruCache(QUERY_CACHE),
                bus=bus,
                license=FreeLicense(),
                metrics=InprocessMetrics(),
                clock=clock,
                ids=SystemIds(clock),
                usage=Usage(storage=store.storage, clock=clock) if settings.search_use else None,
                follower=follower,
            )


@asynccontextmanager
async def _open_vectors(
    settings: Settings, exact: VectorIndex, storage: Storage, embedder: StoreEmbedder
) -> AsyncIterator[tuple[VectorIndex, "Follower | None"]]:
    if not settings.uses_chroma:
        yield exact, None
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
            storage,
            fallback=FALLBACK,
            room=settings.chroma_cache_size,
            follow=False,
            asking=embedder.fitting,
        ) as planned,
    ):
        yield planned, planned.follower


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


def _open_embedder(settings: Settings) -> AbstractAsyncContextManager[Embedder]:
    if settings.uses_ollama:
        from tmws_adapters.ollama import open_ollama  # noqa: PLC0415

        return open_ollama(settings.ollama_base_url, settings.ollama_model)
    from tmws_adapters.onnx import open_onnx  # noqa: PLC0415

    return open_onnx(settings.onnx_model_dir)


def compose(settings: Settings, parts: Parts) -> App:
    """Return the app over open adapters."""
    memories = Memories(
        storage=parts.storage,
        embedder=parts.embedder,
        bus=parts.bus,
        clock=parts.clock,
        ids=parts.ids,
        audited=settings.audit_log_enabled,
        embed_timeout=settings.timeout / 2,
    )
    recall = Recall(
        storage=parts.storage,
        lexical=parts.lexical,
        vectors=parts.vectors,
        embedder=parts.embedder,
        cache=parts.cache,
        clock=parts.clock,
        fallback=FALLBACK,
        embed_timeout=min(QUERY_TIMEOUT, settings.timeout / 2),
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
        database="sqlite",
        started=parts.clock.monotonic(),
    )
    return App(
        (memories, Browsing(storage=parts.storage, clock=parts.clock, usage=parts.usage), recall, health),
        identify=Registry(parts.storage).identify,
        clock=parts.clock,
        metrics=parts.metrics,
        request_timeout=settings.timeout,
    )


async def _announce(settings: Settings, parts: Parts, *, any_model: bool) -> None:
    for name in settings.without_effect:
        logger.warning("⚠️ %s has no effect in this version", name)
    license_ = await parts.license.current()
    logger.info("✅ License: tier %s, features %s", license_.tier.value, ",".join(license_.features))
    stored = await parts.storage.health()
    logger.info("✅ Database migrated: %s, schema %s, %d memories", stored.kind, stored.version, stored.memories)
    logger.info("✅ Vector index ready: %s", parts.vectors.source)
    embedder = await parts.embedder.health()
    try:
        await parts.embedder.expect(embedder.model)
    except ModelMismatch as error:
        if not any_model:
            raise
        logger.warning("⚠️ %s", error.message)
    if embedder.up:
        logger.info("✅ Embedder ready: %s, model %s", embedder.kind, embedder.model)
    else:
        logger.warning("⚠️ Embedder down, memories are stored without vectors: %s", embedder.reason)
