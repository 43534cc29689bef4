"""How the schema of a database stands to this version of the program."""

from collections.abc import Container
from pathlib import Path
from typing import Literal

import attrs

from tmws_adapters.migrations import HEAD
from tmws_adapters.migrations.belonging import check_own
from tmws_adapters.migrations.compatibility import Reader, is_usable, usable_from
from tmws_core.errors import SchemaDirty, SchemaTooNew, StorageUnavailable

State = Literal["none", "older", "current", "newer", "unusable"]

_VERSIONED = {
    "sqlite": "SELECT name FROM sqlite_schema WHERE name = 'alembic_version'",
    "postgresql": "SELECT to_regclass('alembic_version')",
}
"""By dialect: a query that answers with no row, or with NULL, where no revision was ever applied."""


@attrs.frozen(kw_only=True)
class Standing:
    """The revision of a database, None for an empty one, and the version of its server."""

    dialect: str
    server: str
    revision: str | None = None
    usable_from: str | None = None
    head: str = HEAD

    @property
    def state(self) -> State:
        """Tell whether this version may use the database as it is: if it is current, or newer."""
        if self.revision is None:
            return "none"
        if self.revision == self.head:
            return "current"
        if self.revision < self.head:
            return "older"
        return "newer" if is_usable(self.usable_from) else "unusable"


@attrs.frozen(kw_only=True)
class Change:
    """What was done to a schema; `before` is None for a new database, `backup` where no copy was made."""

    before: str | None
    after: str
    backup: Path | None = None


def standing_of(dialect: str, server: str, connection: Reader) -> Standing:
    """Read how a database stands; nothing is changed. `connection` is one of sqlite3 or psycopg.

    Raises:
        SchemaDirty: it is another program's.
    """
    check_own(dialect, connection)
    versioned = connection.execute(_VERSIONED[dialect]).fetchone()
    if versioned is None or versioned[0] is None:
        return Standing(dialect=dialect, server=server)
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    revision = None if row is None else str(row[0])
    return Standing(dialect=dialect, server=server, revision=revision, usable_from=usable_from(dialect, connection))


def known_revision(standing: Standing, known: Container[str]) -> str | None:
    """Return the revision of a database, None for an empty one.

    Raises:
        SchemaTooNew: a newer version made it.
        SchemaDirty: there never was such a revision.
    """
    if standing.revision is not None and standing.revision not in known:
        raise refusal(standing)
    return standing.revision


def refusal(standing: Standing) -> StorageUnavailable:
    """Return why a revision that this version does not know is refused."""
    revision = (standing.revision or "")[:40]
    if not (revision.isdecimal() and revision > standing.head):
        return SchemaDirty(
            part=standing.dialect,
            reason=f"the database says that its schema is of revision {revision!r}, which there never was",
            hint="Restore the last backup",
        )
    usable = f", which can be used from {standing.usable_from} on" if standing.usable_from else ""
    return SchemaTooNew(
        part=standing.dialect,
        reason=f"the schema is of revision {revision}{usable}; this version of TMWS knows {standing.head}",
        hint="Install the version of TMWS that made it, or let that one run `tmws db downgrade`",
    )
