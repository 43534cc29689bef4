"""The contract of Metrics."""

import pytest

from tmws_adapters.inprocess import InprocessMetrics
from tmws_adapters.inprocess.metrics import WINDOW
from tmws_core.ports.metrics import Metrics, OperationFigures


@pytest.fixture
def metrics() -> Metrics:
    return InprocessMetrics()


def test_nothing_is_known_before_the_first_run(metrics: Metrics) -> None:
    assert dict(metrics.figures()) == {}


def test_a_single_run_is_every_percentile(metrics: Metrics) -> None:
    metrics.observe("search", "ok", 0.004)

    assert metrics.figures()["search"] == OperationFigures(calls=1, failures=0, p50_ms=4.0, p95_ms=4.0)


def test_percentiles_are_the_nearest_ranks(metrics: Metrics) -> None:
    for milliseconds in range(100, 0, -1):
        metrics.observe("search", "ok", milliseconds / 1000)

    figures = metrics.figures()["search"]
    assert (figures.p50_ms, figures.p95_ms) == pytest.approx((50, 95))


def test_failures_are_counted_among_the_calls(metrics: Metrics) -> None:
    metrics.observe("search", "ok", 0.001)
    metrics.observe("search", "storage_busy", 0.001)

    figures = metrics.figures()["search"]
    assert (figures.calls, figures.failures) == (2, 1)


def test_operations_are_kept_apart(metrics: Metrics) -> None:
    metrics.observe("search", "ok", 0.001)
    metrics.observe("create", "ok", 0.001)

    assert {name: figures.calls for name, figures in metrics.figures().items()} == {"search": 1, "create": 1}


def test_old_runs_leave_the_percentiles_but_not_the_count(metrics: Metrics) -> None:
    for _ in range(WINDOW):
        metrics.observe("search", "ok", 9.0)
    for _ in range(WINDOW):
        metrics.observe("search", "ok", 0.001)

    figures = metrics.figures()["search"]
    assert (figures.calls, figures.p95_ms) == (2 * WINDOW, 1.0)
