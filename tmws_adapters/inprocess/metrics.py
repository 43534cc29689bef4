"""Measurements in memory."""

from collections import deque
from collections.abc import Mapping

import attrs

from tmws_core.ports.metrics import OperationFigures

WINDOW = 1000
"""The last runs of an operation, from which the percentiles are taken: the 95th has 50 runs above it."""

_OK = "ok"


@attrs.define
class _Record:
    calls: int = 0
    failures: int = 0
    seconds: deque[float] = attrs.field(factory=lambda: deque(maxlen=WINDOW))

    def figures(self) -> OperationFigures:
        ordered = sorted(self.seconds)
        return OperationFigures(
            calls=self.calls,
            failures=self.failures,
            p50_ms=_percentile(ordered, 50),
            p95_ms=_percentile(ordered, 95),
        )


@attrs.define(eq=False)
class InprocessMetrics:
    """Metrics that remember the durations of the last WINDOW runs of each operation."""

    _records: dict[str, _Record] = attrs.field(factory=dict, init=False)

    def observe(self, operation: str, status: str, seconds: float) -> None:
        """Record one run of an operation; `status` is "ok" or the code of its error."""
        record = self._records.setdefault(operation, _Record())
        record.calls += 1
        record.failures += status != _OK
        record.seconds.append(seconds)

    def figures(self) -> Mapping[str, OperationFigures]:
        """Return what was recorded, by operation."""
        return {operation: record.figures() for operation, record in self._records.items()}


def _percentile(ordered: list[float], percent: int) -> float:
    """Return the nearest-rank percentile of seconds that are in order and at least one, in milliseconds."""
    rank = -(-len(ordered) * percent // 100)
    return ordered[rank - 1] * 1000
