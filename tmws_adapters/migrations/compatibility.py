"""Which versions of the program may use a schema: a mark in the database, written with each revision.

A revision that only adds to a schema can be used by the program of the revision before. It says so by `usable_from`,
the oldest revision whose program may use it; one that says nothing can be used by its own program only. What the
strictest of all revisions says is in the database, so that a program need not know a revision to obey it.
"""

from typing import TYPE_CHECKING, Any, Protocol

from tmws_adapters.migrations import HEAD

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

TABLE = "schema_compatibility"
"""A table of one row, the mark; it is none of a revision's, so that it holds for the oldest ones as well."""

_EXISTS = {
    "sqlite": f"SELECT name FROM sqlite_schema WHERE name = '{TABLE}'",  # noqa: S608 - a constant name
    "postgresql": f"SELECT to_regclass('{TABLE}')",
}
"""By dialect: a query that answers with no row, or with NULL, where there is no mark."""


_MARK = f"SELECT usable_from FROM {TABLE} WHERE revision = (SELECT version_num FROM alembic_version)"  # noqa: S608 - as above


class Reader(Protocol):
    """A connection of sqlite3 or psycopg."""

    def execute(self, query: Any, /) -> Any:
        """Execute a statement and return its cursor."""
        ...


def remember(connection: "Connection", scripts: "ScriptDirectory", revision: str) -> None:
    """Mark the database as one of this revision; part of the transaction that made it so."""
    usable_from = max(
        getattr(script.module, "usable_from", script.revision) for script in scripts.iterate_revisions(revision, "base")
    )
    connection.exec_driver_sql(
        f"CREATE TABLE IF NOT EXISTS {TABLE} (revision text NOT NULL, usable_from text NOT NULL)"
    )
    connection.exec_driver_sql(f"DELETE FROM {TABLE}")  # noqa: S608 - a constant name
    connection.exec_driver_sql(f"INSERT INTO {TABLE} VALUES ('{revision}', '{usable_from}')")  # noqa: S608 - constants


def usable_from(dialect: str, connection: Reader) -> str | None:
    """Return the oldest revision whose program may use the database; None where no mark of its revision says so."""
    found = connection.execute(_EXISTS[dialect]).fetchone()
    if found is None or found[0] is None:
        return None
    row = connection.execute(_MARK).fetchone()
    return None if row is None else str(row[0])


def is_usable(mark: str | None) -> bool:
    """Tell whether this program may use a schema that it does not know; revisions are numbered in their order."""
    return mark is not None and mark <= HEAD
