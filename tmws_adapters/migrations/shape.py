"""What a schema consists of, and how that of a database differs from what the revisions make.

The revisions are run on an empty schema beside the database's own, which is thrown away; so nothing about the right
schema is written down twice.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection

from tmws_adapters.migrations.compatibility import TABLE
from tmws_adapters.migrations.connecting import connected_nowhere, connected_server
from tmws_adapters.migrations.runner import finish, scripts
from tmws_adapters.migrations.walls import UNWALLED

SCRATCH = "tmws_check"
"""The schema in PostgreSQL in which the revisions are run; it is never committed."""

Shape = dict[str, str]
"""The parts of a schema by kind and name, such as `column agents.id`, and how each is defined."""

_OWN = re.compile(rf"^(table|column) (alembic_version|{TABLE})\b")
"""What the migrations keep for themselves."""


@attrs.frozen(kw_only=True)
class Difference:
    """A part of the schema that is not as the revisions make it; None is said of what is not there."""

    part: str
    expected: str | None
    found: str | None

    @property
    def problem(self) -> str:
        """Say what is wrong."""
        if self.found is None:
            return f"{self.part} is missing"
        if self.expected is None:
            return f"{self.part} does not belong there"
        return f"{self.part} is not as it should be"


def differences_of_file(connection: Any, revision: str) -> list[Difference]:
    """Compare an SQLite database with the revision; `connection` is one of sqlite3, and is only read."""
    with connected_nowhere() as nowhere:
        _make(nowhere, revision)
        expected = _file_shape(nowhere.connection.driver_connection)
    return _differences(expected, _file_shape(connection))


def differences_of_server(url: str, revision: str) -> list[Difference]:
    """Compare a PostgreSQL database with the revision; what is made for that is rolled back.

    Raises the driver's own psycopg.Error; the user needs the right to create a schema.
    """
    with connected_server(url) as connection, connection.begin_nested() as trial:
        driver: Any = connection.connection.driver_connection
        ((own, vectors),) = driver.execute(_PLACES).fetchall()
        live = _server_shape(driver, own)
        # The vectors' type is found where the extension is, and nothing else in the database's own schema.
        driver.execute(f"CREATE SCHEMA {SCRATCH}; SET LOCAL search_path = {SCRATCH}, {vectors}")
        _make(connection, revision)
        expected = _server_shape(driver, SCRATCH)
        trial.rollback()
        open_ones = [name for (name,) in driver.execute(UNWALLED).fetchall()]
    unwalled = [
        Difference(part=f"row-level security of partition {name}", expected=_CLOSED, found=None)
        for name in open_ones
        if expected.get("table memories_v2") == _WALLED and f"table {name}" not in expected
    ]
    return _differences(expected, live) + unwalled


def _make(connection: Connection, revision: str) -> None:
    steps = [*scripts().iterate_revisions(revision, "base")]
    with Operations.context(MigrationContext.configure(connection)):
        for step in reversed(steps):
            step.module.upgrade()
    finish(connection)


def _differences(expected: Shape, found: Shape) -> list[Difference]:
    """Return the differences; tables and indexes that somebody added disturb nobody, columns and triggers may."""
    differing = [
        Difference(part=part, expected=definition, found=found.get(part))
        for part, definition in expected.items()
        if found.get(part) != definition and not _belongs_to_a_missing_table(part, found)
    ]
    added = [
        Difference(part=part, expected=None, found=definition)
        for part, definition in found.items()
        if part not in expected and _disturbs(part, expected)
    ]
    return [each for each in differing + added if not _OWN.match(each.part)]


def _belongs_to_a_missing_table(part: str, found: Mapping[str, str]) -> bool:
    table = _table_of(part)
    return table is not None and f"table {table}" not in found


def _disturbs(part: str, expected: Mapping[str, str]) -> bool:
    return part.startswith(("column ", "trigger ", "policy ")) and f"table {_table_of(part)}" in expected


def _table_of(part: str) -> str | None:
    """Return the table that something is part of: names are `{table}.{name}` where they are."""
    table, dot, _ = part.partition(" ")[2].partition(".")
    return table if dot else None


def _plain(text: str | None) -> str:
    """Return a statement without what renaming and formatting leave behind."""
    return " ".join((text or "").replace('"', "").split())


def _file_shape(connection: Any) -> Shape:
    shape: Shape = {}
    named = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    for kind, name, table, sql in connection.execute(named).fetchall():
        if kind != "table":
            shape[f"{kind} {table}.{name}"] = _plain(sql)
            continue
        # The text of a table is rewritten by each change of it; that of a virtual one says what no column does.
        shape[f"table {name}"] = _plain(sql) if sql.upper().startswith("CREATE VIRTUAL") else _rules(_plain(sql))
        columns = 'SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)'
        for column, *facts in connection.execute(columns, (name,)).fetchall():
            shape[f"column {name}.{column}"] = " ".join(map(str, facts))
    return shape


def _rules(sql: str) -> str:
    """Return what a table's statement says that its columns do not: its conditions, and how it is kept."""
    body, _, kept = sql.rpartition(")")
    return " ".join([*sorted(_conditions(body + ")")), *sorted(filter(None, map(str.strip, kept.upper().split(","))))])


def _conditions(sql: str) -> Iterator[str]:
    for start in (found.end() for found in re.finditer(r"\bCHECK *\(", sql)):
        depth, end = 1, start
        while depth and end < len(sql):
            depth += {"(": 1, ")": -1}.get(sql[end], 0)
            end += 1
        yield f"CHECK ({sql[start:end]}"


def _server_shape(connection: Any, schema: str) -> Shape:
    rows = connection.execute(_CATALOGUE, {"schema": schema}).fetchall()
    return {part: _plain((definition or "").replace(f"{schema}.", "")) for part, definition in rows}


_WALLED = "t t"
"""What is said of a table whose row-level security holds for its owner, too."""

_CLOSED = "forced, with the policy `whole` only; the next start of TMWS sees to it, if its role owns the partition"

_PLACES = """
    SELECT quote_ident(current_schema()), coalesce((
        SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace AS n ON n.oid = extnamespace
        WHERE extname = 'vector'
    ), 'pg_catalog')
"""

_CATALOGUE = """
    WITH relations AS (
        SELECT c.* FROM pg_class AS c
        WHERE c.relnamespace = to_regnamespace(%(schema)s) AND c.relkind IN ('r', 'p')
    ), parents AS (SELECT * FROM relations WHERE NOT relispartition)
    SELECT 'table ' || relname, concat(relrowsecurity, ' ', relforcerowsecurity) FROM relations
    UNION ALL
    SELECT format('column %%s.%%s', r.relname, a.attname), concat_ws(
        ' ', format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, l.collname,
        pg_get_expr(d.adbin, d.adrelid)
    )
    FROM relations AS r JOIN pg_attribute AS a ON a.attrelid = r.oid
    LEFT JOIN pg_attrdef AS d ON d.adrelid = r.oid AND d.adnum = a.attnum
    LEFT JOIN pg_collation AS l ON l.oid = a.attcollation
    WHERE a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT format('index %%s.%%s', r.relname, i.relname), concat(
        pg_get_indexdef(i.oid), CASE WHEN NOT x.indisvalid THEN ' (invalid)' END
    )
    FROM parents AS r JOIN pg_index AS x ON x.indrelid = r.oid JOIN pg_class AS i ON i.oid = x.indexrelid
    WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.oid AND contype IN ('p', 'u'))
    UNION ALL
    SELECT format('constraint %%s.%%s', r.relname, k.conname), pg_get_constraintdef(k.oid)
    FROM parents AS r JOIN pg_constraint AS k ON k.conrelid = r.oid WHERE k.contype IN ('c', 'f', 'p', 'u')
    UNION ALL
    SELECT format('trigger %%s.%%s', r.relname, t.tgname), pg_get_triggerdef(t.oid)
    FROM parents AS r JOIN pg_trigger AS t ON t.tgrelid = r.oid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT format('policy %%s.%%s', r.relname, p.polname), concat_ws(
        ' ', p.polcmd, p.polpermissive, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
    )
    FROM relations AS r JOIN pg_policy AS p ON p.polrelid = r.oid
    UNION ALL
    SELECT 'function ' || p.proname, concat_ws(
        ' ', pg_get_function_arguments(p.oid), p.prorettype::regtype, p.prosecdef, p.proconfig, p.prosrc
    )
    FROM pg_proc AS p WHERE p.pronamespace = to_regnamespace(%(schema)s)
        AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')
    UNION ALL
    SELECT 'sequence ' || relname, '' FROM pg_class
    WHERE relnamespace = to_regnamespace(%(schema)s) AND relkind = 'S'
"""
"""Every part of a schema; what follows from a partitioned table in its partitions is left out."""
