"""Vectors, and the model that made them; vectors of two models are never compared."""

import re

import attrs

_E5 = re.compile(r"(?<![a-z0-9])e5(?![a-z0-9])")


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


@attrs.frozen(kw_only=True)
class Prefixes:
    """What a model wants to read before a question, and before a text that is to be found."""

    query: str = ""
    passage: str = ""


def prefixes_of(name: str) -> Prefixes:
    """Return the prefixes that a model was trained with: those of e5 where that is a word of its name, else none."""
    return Prefixes(query="query: ", passage="passage: ") if _E5.search(name.lower()) else Prefixes()
