"""A store whose log is partly signed, copied for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from tests.contracts.audit_steps import opened, write_log
from tests.stacks import copy_store
from tmws_core.ports.storage import Storage


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose log has ROWS rows, of which SIGNED are signed."""
    home = tmp_path_factory.mktemp("written")
    anyio.run(write_log, home)
    return home


@pytest.fixture
def home(written: Path, tmp_path: Path) -> Path:
    copy_store(written, tmp_path)
    return tmp_path


@pytest.fixture
async def storage(home: Path) -> AsyncIterator[Storage]:
    async with opened(home) as store:
        yield store.storage
