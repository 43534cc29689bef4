"""The embedder as a store may use it: only the model of the store's vectors, and with patience for one that is down."""

from tmws_core.embedding.breaker import CircuitBreaker
from tmws_core.embedding.identity import Identity, fits, identify
from tmws_core.embedding.store import StoreEmbedder
from tmws_core.embedding.texts import embed_in_turns, vectors_of

__all__ = ["CircuitBreaker", "Identity", "StoreEmbedder", "embed_in_turns", "fits", "identify", "vectors_of"]
