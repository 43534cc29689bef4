"""Who holds a credential, asked on a connection of its own."""

import sqlite3
from collections.abc import Callable
from typing import TypeVar

import anyio.to_thread
import attrs

from tmws_adapters.sql.agents import holder_of, key_of
from tmws_adapters.sql.times import from_rfc3339
from tmws_adapters.sqlite.connections import Opener
from tmws_adapters.sqlite.errors import translated
from tmws_core.domain.credential import ApiKey
from tmws_core.ports.holders import Holder

T = TypeVar("T")

PATIENCE_MS = 50
"""How long everything may wait in the rare moment in which another process recovers the write-ahead log."""

_KEY_AND_AGENT = """
    SELECT k.id, k.agent_id, k.digest, k.name, k.created_at, k.expires_at, k.revoked_at, k.last_used_at,
           a.id, a.namespace, a.role, a.active
    FROM api_keys AS k JOIN agents AS a ON a.id = k.agent_id WHERE k.id = ?
"""

_AGENT_AND_REVOCATION = """
    SELECT EXISTS (SELECT 1 FROM revoked_tokens WHERE id = ?), a.id, a.namespace, a.role, a.active
    FROM (SELECT 1) LEFT JOIN agents AS a ON a.id = ?
"""


@attrs.define(eq=False)
class SqliteHolders:
    """Asks in the thread of the caller: a few pages take 0.01 ms, and the way to a worker thread and back 0.2 ms."""

    _opener: Opener
    _connection: sqlite3.Connection | None = attrs.field(default=None, init=False)

    async def of_key(self, key_id: str) -> tuple[ApiKey, Holder] | None:
        """Return a key, revoked and expired ones included, and its agent, or None if there is no such key."""
        row = await self._ask(lambda connection: connection.execute(_KEY_AND_AGENT, (key_id,)).fetchone())
        return None if row is None else (key_of(row[:8], from_rfc3339), holder_of(row[8:]))

    async def of_token(self, agent_id: str, token_id: str | None) -> tuple[Holder | None, bool]:
        """Return the agent, or None if it is not registered, and whether the token was revoked."""
        values = (token_id, agent_id)
        row = await self._ask(lambda connection: connection.execute(_AGENT_AND_REVOCATION, values).fetchone())
        return None if row[1] is None else holder_of(row[1:]), bool(row[0])

    async def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection or await self._connect()
        with translated():
            return question(connection)

    async def _connect(self) -> sqlite3.Connection:
        opened = await anyio.to_thread.run_sync(self._opener.reader)
        opened.execute(f"PRAGMA busy_timeout = {PATIENCE_MS}")
        if self._connection is None:
            self._connection = opened
        else:  # several were first
            opened.close()
        return self._connection

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
