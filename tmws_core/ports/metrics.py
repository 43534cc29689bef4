"""Measurements of the running service."""

from collections.abc import Mapping
from typing import Protocol

import attrs


@attrs.frozen(kw_only=True)
class OperationFigures:
    """How often an operation ran since the start, how often it failed, and how long it took in milliseconds."""

    calls: int
    failures: int
    p50_ms: float
    p95_ms: float


class Metrics(Protocol):
    """Counts what happens; never raises and never waits."""

    def observe(self, operation: str, status: str, seconds: float) -> None:
        """Record one run of an operation; `status` is "ok" or the code of its error."""
        ...

    def figures(self) -> Mapping[str, OperationFigures]:
        """Return what was recorded, by operation."""
        ...
