"""What the log says of the parts that were opened."""

import logging

from tmws_core.embedding import StoreEmbedder
from tmws_core.errors import IndexUnavailable, ModelMismatch
from tmws_core.ports.storage import Storage
from tmws_core.ports.vector import VectorIndex

logger = logging.getLogger("tmws")


async def announce_parts(
    storage: Storage, vectors: VectorIndex, embedder: StoreEmbedder, *, asks_index: bool, any_model: bool
) -> None:
    """Say how the store, the index and the embedder are; the index is asked where it is another program.

    Raises:
        ModelMismatch: the vectors of the store are another model's, and that will not do.
        StorageUnavailable: the store cannot be read.
    """
    stored = await storage.health()
    logger.info("✅ Database migrated: %s, schema %s, %d memories", stored.kind, stored.version, stored.memories)
    await _announce_index(vectors, asks=asks_index)
    health = await embedder.health()
    try:
        await embedder.expect(health.model)
    except ModelMismatch as error:
        if not any_model:
            raise
        logger.warning("⚠️ %s", error.message)
    if health.up:
        logger.info("✅ Embedder ready: %s, model %s", health.kind, health.model)
    else:
        logger.warning("⚠️ Embedder down, memories are stored without vectors: %s", health.reason)


async def _announce_index(vectors: VectorIndex, *, asks: bool) -> None:
    try:
        if asks:
            await vectors.health()
    except IndexUnavailable as error:
        logger.warning("⚠️ Vector index %s is not ready, the store is searched: %s", vectors.source, error.message)
    else:
        logger.info("✅ Vector index ready: %s", vectors.source)
