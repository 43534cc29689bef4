"""Servers that many tests share; each test brings agents and texts of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shells.serving import HttpServer, http_server
from tests.shells.traced import Watched


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    """An HTTP server on a free port."""
    with http_server(tmp_path_factory.mktemp("http") / "home") as running:
        yield running
        running.stop()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data directory that does not hold anything yet."""
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """Processes that are seen looking names up, connecting and writing."""
    return Watched(tmp_path)
