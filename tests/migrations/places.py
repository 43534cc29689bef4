"""Databases whose schema goes back and forth, in both stores: a place is the path of a file, or a URL."""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from tmws_adapters.migrations import HEAD
from tmws_adapters.migrations.connecting import connected, connected_server
from tmws_adapters.migrations.runner import configuration, downgrade, downgrade_server, known, upgrade, upgrade_server
from tmws_adapters.migrations.shape import Difference
from tmws_adapters.migrations.standing import Change, Standing
from tmws_adapters.postgres.upkeep import PostgresUpkeep
from tmws_adapters.sqlite.upkeep import SqliteUpkeep

REVISIONS = [f"{number:04}" for number in range(1, int(HEAD) + 1)]
"""All revisions, the oldest first: they are numbered in their order."""

FUTURE = "9001"
LATER = "9002"

_FUTURE = '''"""What a version to come does."""

from tmws_adapters.migrations.runner import execute

revision = "{revision}"
down_revision = "{former}"
branch_labels = None
depends_on = None
usable_from = "{usable_from}"

_ADDED = "ALTER TABLE memories_v2 ADD COLUMN mood_{revision} text"
_REMOVED = "ALTER TABLE memories_v2 DROP COLUMN mood_{revision}"


def upgrade() -> None:
    execute({{"sqlite": (_ADDED,), "postgresql": (_ADDED,)}})


def downgrade() -> None:
    execute({{"sqlite": (_REMOVED,), "postgresql": (_REMOVED,)}})
'''


def is_server(place: str) -> bool:
    return place.startswith("postgresql://")


def upkeep(place: str) -> PostgresUpkeep | SqliteUpkeep:
    return PostgresUpkeep(place) if is_server(place) else SqliteUpkeep(Path(place))


def differences(place: str) -> list[Difference]:
    return upkeep(place).differences()


def standing(place: str) -> Standing:
    return upkeep(place).standing()


def upgraded(place: str) -> Change:
    return upgrade_server(place) if is_server(place) else upgrade(Path(place))


def downgraded(place: str) -> Change:
    return downgrade_server(place) if is_server(place) else downgrade(Path(place))


def go(place: str, revision: str, *, future: Path | None = None) -> None:
    """Bring the schema to a revision, forth or back; those in `future` are known, too."""
    present = standing(place).revision or ""
    with _connecting(place) as connection:
        settings = _configured(connection, future)
        (command.upgrade if revision > present else command.downgrade)(settings, revision)


def write_future(directory: Path, *usable_from: str) -> Path:
    """Write revisions of versions to come, each usable from another revision on, and return their directory."""
    former = known()[-1]
    for revision, usable in zip((FUTURE, LATER), usable_from, strict=False):
        text = _FUTURE.format(revision=revision, former=former, usable_from=usable)
        (directory / f"{revision}_future.py").write_text(text)
        former = revision
    return directory


@contextmanager
def raw(place: str) -> "Iterator[Any]":
    """Yield a connection of the driver, which sees everything, and commit at the end."""
    if is_server(place):
        with psycopg.connect(place) as connection:
            connection.execute("SET tmws.audience = 'all:'")
            yield connection
    else:
        with closing(sqlite3.connect(place)) as file, file:
            yield file


def _connecting(place: str) -> AbstractContextManager[Connection]:
    return connected_server(place) if is_server(place) else connected(Path(place))


def _configured(connection: Connection, future: Path | None) -> Config:
    settings = configuration(connection)
    if future is not None:
        own = Path(__file__).parents[2] / "tmws_adapters" / "migrations" / "versions"
        settings.set_main_option("version_locations", f"{own}:{future}")
    return settings
