"""An empty database of each kind."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contracts.stores import STORES
from tests.servers.postgres import PostgresServer


@pytest.fixture(params=STORES)
def place(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_if_asked: Callable[[], PostgresServer]
) -> Iterator[str]:
    """Return the path of a file that does not exist yet, or the URL of a database without a schema."""
    if request.param == "sqlite":
        yield str(tmp_path / "tmws.db")
    else:
        with postgres_if_asked().database("template0") as url:
            yield url
