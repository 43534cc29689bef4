"""What the store says of its own state."""

import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

from tmws_adapters.sqlite.errors import PART, file_error
from tmws_adapters.sqlite.presence import OpenFile
from tmws_adapters.sqlite.times import optional_moment
from tmws_core.ports.health import Flaw, StorageHealth

_WORDS = {
    "memories without a lexical entry": """
        SELECT count(*) FROM memories_v2 AS m
        WHERE NOT EXISTS (SELECT 1 FROM memories_fts_docsize AS entry WHERE entry.id = m.document)
    """,
    "lexical entries without a memory": """
        SELECT count(*) FROM memories_fts_docsize AS entry
        WHERE NOT EXISTS (SELECT 1 FROM memories_v2 AS m WHERE m.document = entry.id)
    """,
}
"""What the lexical index says and the memories do not, with the query that counts it."""

_SIDES = {
    "memories whose vector is missing": """
        SELECT count(*) FROM memories_v2 AS m
        WHERE m.model IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM embeddings AS e WHERE e.document = m.document AND e.model = m.model
        )
    """,
    "vectors without a memory": """
        SELECT count(*) FROM embeddings AS e
        WHERE NOT EXISTS (SELECT 1 FROM memories_v2 AS m WHERE m.document = e.document AND m.model = e.model)
    """,
    "vectors of another model without a memory": """
        SELECT count(*) FROM (
            SELECT document FROM embeddings_next UNION ALL SELECT document FROM embeddings_former
        ) AS e
        WHERE NOT EXISTS (SELECT 1 FROM memories_v2 AS m WHERE m.document = e.document)
    """,
}
"""What one table says and another does not, with the query that counts it."""


OTHER_WORDS = Flaw("the lexical index has other words than the texts it was given", derived=True)

_OTHER_WORDS = "malformed inverted index for FTS5 table"
"""How SQLite says that from 3.44 on."""


def health(connection: sqlite3.Connection, path: Path, file: OpenFile) -> StorageHealth:
    """Read the store's version and counts; StorageGone where nothing can be stored in it any more."""
    file.check()
    (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    (memories,) = connection.execute("SELECT coalesce(sum(memories), 0) FROM agent_belongings").fetchone()
    (unembedded, since) = connection.execute(
        "SELECT count(*), min(updated_at) FROM memories_v2 WHERE model IS NULL"
    ).fetchone()
    return StorageHealth(
        kind=PART,
        version=version,
        memories=memories,
        unembedded=unembedded,
        waiting_since=optional_moment(since),
        bytes_on_disk=_bytes_on_disk(path),
        bytes_free=shutil.disk_usage(path).free,
    )


def integrity(connection: sqlite3.Connection) -> list[Flaw]:
    """Return what is wrong with the file, its references and its indexes."""
    problems = [text for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]
    problems += [
        f"{table}: row {row} refers to a row of {parent} that is missing"
        for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check")
    ]
    flaws = [OTHER_WORDS if problem.startswith(_OTHER_WORDS) else Flaw(problem) for problem in problems]
    for description, sql in (_WORDS | _SIDES).items():
        (count,) = connection.execute(sql).fetchone()
        if count:
            flaws.append(Flaw(f"{count} {description}", derived=description in _WORDS))
    return flaws


def _bytes_on_disk(path: Path) -> int:
    log = path.with_name(f"{path.name}-wal")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise file_error(error) from error
    with suppress(FileNotFoundError):
        size += log.stat().st_size
    return size
