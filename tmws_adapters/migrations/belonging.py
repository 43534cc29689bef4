"""Whose a database is: TMWS makes its tables in an empty one, and touches nobody else's."""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tmws_adapters.migrations.compatibility import TABLE as MARK
from tmws_adapters.migrations.compatibility import Reader
from tmws_core.errors import SchemaDirty

T = TypeVar("T")

OWN = {
    "agents": {"id", "namespace"},
    "memories_v2": {"document", "agent_id", "content_hash", "content"},
    "memory_history": {"memory_id", "version", "content"},
    "security_audit_logs": {"event_type", "agent_id", "details"},
}
"""Tables of every revision with columns that they always have; another program has hardly all of them."""

UNCLAIMED = {"alembic_version", MARK}
"""What is left where all revisions were taken back."""

_NAMES = ", ".join(f"'{name}'" for name in sorted(OWN))

TABLES = {
    "sqlite": f"""
        SELECT s.name, CASE WHEN s.type = 'table' AND s.name IN ({_NAMES})
            THEN (SELECT group_concat(c.name, ' ') FROM pragma_table_info(s.name) AS c) END
        FROM sqlite_schema AS s WHERE s.type IN ('table', 'view') AND substr(s.name, 1, 7) <> 'sqlite_'
    """,  # noqa: S608 - constant names
    "postgresql": f"""
        SELECT c.relname::text, CASE WHEN c.relname IN ({_NAMES}) THEN (
            SELECT string_agg(a.attname, ' ') FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0
        ) END
        FROM pg_class AS c
        WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema())) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
            AND NOT EXISTS (
                SELECT 1 FROM pg_depend AS d
                WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
            )
    """,  # noqa: S608 - as above
}
"""By dialect: the tables and views, without those of the database itself and of extensions; of ours the columns."""

LOOKS = 5
"""How often to look at a file that changes meanwhile: another process makes a store of it, in some milliseconds."""

_SHOWN = 3
"""Tables that an error names."""


def check_own(dialect: str, connection: Reader) -> None:
    """Raise SchemaDirty for a database that another program uses; an empty one is ours."""
    judge(dialect, connection.execute(TABLES[dialect]).fetchall())


def judge(dialect: str, found: Iterable[tuple[Any, ...]]) -> None:
    """Raise SchemaDirty for the tables of another program, which TABLES finds; see `check_own`."""
    columns = {str(name): set(str(named or "").split()) for name, named in found}
    tables = columns.keys()
    whole = (OWN.keys() | {"alembic_version"}) <= tables
    shown, lacking = sorted(tables)[:_SHOWN], "tables"
    if whole:
        # By name they are ours.
        shown, lacking = [name for name, own in OWN.items() if not own <= columns[name]][:_SHOWN], "columns"
    if not shown or (not whole and tables >= UNCLAIMED):
        return
    raise SchemaDirty(
        part=dialect,
        reason=f"the database is another program's: it holds {', '.join(shown)}, and not the {lacking} of TMWS",
        hint="Set TMWS_DATABASE_URL to a database of its own; nothing was changed",
    )


def looked_at(path: Path, look: Callable[[sqlite3.Connection], T], seconds: float) -> T:
    """Return what `look` finds in a file, to which nothing happens, nor is anything put beside it.

    Raises:
        SchemaDirty: see `check_own`.
        sqlite3.Error: it is no database, or cannot be read.
    """
    for _ in range(LOOKS):
        before = _state(path)
        try:
            with _view(path, seconds) as connection:
                check_own("sqlite", connection)
                return look(connection)
        except (sqlite3.Error, SchemaDirty):
            if _state(path) == before:
                raise
    with _view(path, seconds) as connection:
        check_own("sqlite", connection)
        return look(connection)


@contextmanager
def _view(path: Path, seconds: float) -> Iterator[sqlite3.Connection]:
    _, log, journal = _state(path)
    # A file that nobody uses is read without locks: they would switch nothing, but leave files behind. What another
    # process was about to write is in a log, which is there already, or in a journal, which has to be played back.
    mode = "mode=ro" if log is not None else "mode=rw" if journal else "mode=ro&immutable=1"
    address = f"{path.absolute().as_uri()}?{mode}"
    with closing(sqlite3.connect(address, uri=True, timeout=seconds, isolation_level=None)) as connection:
        yield connection


def _state(path: Path) -> tuple[object, ...]:
    """Return what changes with a file: itself, its log, and how much its journal holds."""
    real = os.path.realpath(path)
    return _size(real, when=True), _size(f"{real}-wal"), (_size(f"{real}-journal") or (0,))[0]


def _size(path: str, *, when: bool = False) -> tuple[int, ...] | None:
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        return None
    return (found.st_size, found.st_mtime_ns) if when else (found.st_size,)
