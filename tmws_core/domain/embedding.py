"""Vectors, and the model that made them; vectors of two models are never compared."""

import re
import struct
from operator import mul

import attrs

CANARY = (
    "In March 2024, 42 engineers moved the billing service of Nordwind GmbH to PostgreSQL; "
    "der Umzug dauerte drei Tage. 引っ越しは三日かかりました。 assert total == 17.5"
)
"""A text whose vector tells whether two embedders have the same weights; several scripts exercise much of a model."""

SAME_WEIGHTS = 0.999
"""The least cosine between two vectors of one text by one model.

The same weights in another batch give more than 0.999999, int8 weights instead of the full ones 0.9993 on average
(measured with MiniLM).
"""

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

    `digest` is the empty string where the embedder cannot tell it. `edition` is 2 and more for a model that a store has
    under the name and digest of an earlier one, but whose weights are others.
    """

    name: str
    dimension: int
    digest: str = ""
    edition: int = 1


@attrs.frozen(kw_only=True)
class Calibration:
    """What cosines of a model mean: their means between questions and texts, `related` where these answer them.

    Between unrelated texts it is near 0 with some models and above 0.7 with others.
    """

    unrelated: float
    related: float

    def nearness(self, similarity: float) -> float:
        """Return 0 for a cosine as of unrelated texts on average or below, and 1 for one as of related texts."""
        return max(similarity - self.unrelated, 0.0) / (self.related - self.unrelated)

    @property
    def tells(self) -> bool:
        """Tell whether related texts are nearer to each other than others at all."""
        return self.related - self.unrelated >= LEAST_SPAN


LEAST_SPAN = 0.02
"""The least difference between related and unrelated texts that a model is believed to make."""


@attrs.frozen(kw_only=True)
class Canary:
    """The vector that a model made of a text, kept to recognise the model by, and what its cosines mean, once known."""

    text: str
    vector: Vector
    calibration: Calibration | None = None


@attrs.frozen(kw_only=True)
class KnownModel:
    """A model as a store knows it; a store from before canaries has none."""

    model: EmbeddingModel
    canary: Canary | None


CALIBRATIONS = {
    "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6": Calibration(unrelated=0.05, related=0.55),
}
"""By the digest of a model's weights: what is known before it is measured. The first is the bundled model."""


@attrs.frozen(kw_only=True)
class Prefixes:
    """What a model wants to read before a question, and before a text that is to be found."""

    query: str = ""
    passage: str = ""


def prefixes_of(name: str) -> Prefixes:
    """Return the prefixes that a model was trained with: those of e5 where that is a word of its name, else none."""
    return Prefixes(query="query: ", passage="passage: ") if _E5.search(name.lower()) else Prefixes()


def cosine(one: Vector, other: Vector) -> float:
    """Return the cosine of two vectors of the same dimension."""
    pattern = f"<{one.dimension}f"
    return float(sum(map(mul, struct.unpack(pattern, one.data), struct.unpack(pattern, other.data))))
