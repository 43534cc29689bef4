"""Vectors, and the model that made them; vectors of two models are never compared."""

import attrs


@attrs.frozen
class Vector:
    """One embedding: float32 values, little-endian, of Euclidean norm 1."""

    data: bytes

    @property
    def dimension(self) -> int:
        """Count the values."""
        return len(self.data) // 4


@attrs.frozen(kw_only=True)
class EmbeddingModel:
    """What makes two vectors comparable: the name of the model, its dimension, and a digest of its weights.

    `digest` is the empty string where the embedder cannot tell it.
    """

    name: str
    dimension: int
    digest: str = ""
