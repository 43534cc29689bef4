"""Metadata in a form that is made once and compared quickly, however large its values are: pure."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import attrs

_COMPACT = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))

_SHORT = 64
"""Characters of a value that is kept as it is: as many as its digest would take."""


@attrs.frozen
class Said:
    """What stands for metadata: of each name that of its value, and how many bytes both have as compact JSON.

    What stands for two values is the same where they are the same JSON only: 1 is neither true nor 1.0. `whole` is the
    same for the same metadata, and hardly ever for others.
    """

    values: Mapping[str, str | bytes]
    sizes: Mapping[str, int]
    size: int
    whole: int

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> "Said":
        """Return what stands for metadata."""
        texts = {name: canonical(value) for name, value in metadata.items()}
        sizes = {name: len(canonical(name).encode()) + 1 + len(text.encode()) for name, text in texts.items()}
        return cls._made({name: _short(text) for name, text in texts.items()}, sizes)

    @classmethod
    def _made(cls, values: Mapping[str, str | bytes], sizes: Mapping[str, int]) -> "Said":
        size = 2 + sum(sizes.values()) + max(len(sizes) - 1, 0)
        return cls(values, sizes, size, hash(frozenset(values.items())))

    def contradicts(self, other: "Said") -> bool:
        """Tell whether both give one name different values."""
        return any(other.values.get(name, value) != value for name, value in self.values.items())

    def with_more(self, other: "Said") -> "Said":
        """Return what stands for both together, if they do not contradict each other."""
        return self._made({**self.values, **other.values}, {**self.sizes, **other.sizes})

    def size_with(self, other: "Said") -> int:
        """Return how many bytes both have together."""
        more = [size for name, size in other.sizes.items() if name not in self.sizes]
        return self.size + sum(more) + len(more) - (1 if more and not self.sizes else 0)


@attrs.define
class Sayings:
    """Knows what stands for metadata that has been met, as long as it is kept itself."""

    _met: dict[int, tuple[Mapping[str, Any], Said]] = attrs.field(factory=dict, init=False)

    def of(self, metadata: Mapping[str, Any]) -> Said:
        """Return what stands for metadata, which nobody changes."""
        met = self._met.get(id(metadata))
        return self._keep(metadata, Said.of(metadata)) if met is None else met[1]

    def add(self, held: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
        """Return both together, of which no value is looked at again."""
        both = {**held, **more}
        self._keep(both, self.of(held).with_more(self.of(more)))
        return both

    def _keep(self, metadata: Mapping[str, Any], said: Said) -> Said:
        # The metadata is kept along, so that its id stays its own.
        self._met[id(metadata)] = metadata, said
        return said


def canonical(value: object) -> str:
    """Return a text that is the same for the same JSON value only."""
    return _COMPACT.encode(value)


def _short(text: str) -> str | bytes:
    return text if len(text) <= _SHORT else hashlib.sha256(text.encode()).digest()
