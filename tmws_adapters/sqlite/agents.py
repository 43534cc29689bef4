"""Agents, and what they prove with who they are, in one snapshot or transaction."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import attrs
import orjson

from tmws_adapters.sql.agents import AGENT, KEY, agent_of, agent_values, key_of
from tmws_adapters.sql.times import from_rfc3339, rfc3339
from tmws_adapters.sqlite.session import Session
from tmws_core.domain.agent import Agent, Belongings
from tmws_core.domain.credential import ApiKey


@attrs.frozen
class SqliteAgents:
    """The agents in one transaction."""

    _session: Session

    async def find(self, agent_id: str) -> Agent | None:
        """Return an agent, or None."""
        sql = f"SELECT {AGENT} FROM agents WHERE id = ?"  # noqa: S608 - names are constants, values are bound
        row = await self._session.run(lambda connection: connection.execute(sql, (agent_id,)).fetchone())
        return None if row is None else agent_of(row, from_rfc3339)

    async def registered(self, agent_ids: Collection[str], *, changing: Collection[str] = ()) -> dict[str, Agent]:
        """Return by id those of the agents that are registered; a unit is alone in changing them anyway."""
        sql = f"SELECT {AGENT} FROM agents WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608 - as above
        wanted = (orjson.dumps([*agent_ids, *changing]).decode(),)
        rows = await self._session.run(lambda connection: connection.execute(sql, wanted).fetchall())
        return {agent.id: agent for agent in (agent_of(row, from_rfc3339) for row in rows)}

    async def add(self, agent: Agent) -> None:
        """Register an agent; does nothing if it is known."""
        sql = f"INSERT INTO agents ({AGENT}) VALUES (?{', ?' * 9}) ON CONFLICT (id) DO NOTHING"  # noqa: S608 - as above
        await self._session.defer(lambda connection: connection.execute(sql, agent_values(agent, rfc3339)))

    async def replace(self, agent: Agent) -> None:
        """Put an agent in the place of the one with its id, which must be known."""
        sql = f"UPDATE agents SET ({AGENT}) = (?{', ?' * 9}) WHERE id = ?"  # noqa: S608 - as above
        await self._session.defer(lambda connection: connection.execute(sql, (*agent_values(agent, rfc3339), agent.id)))

    async def page(self, within: str | None, *, after: str | None, limit: int) -> list[Agent]:
        """Return at most `limit` agents in the order of their ids, beginning behind the id `after`."""
        sql = f"""
            SELECT {AGENT} FROM agents
            WHERE id > ?1 AND (?2 IS NULL OR namespace = ?2 OR substr(namespace, 1, length(?2) + 1) = ?2 || '/')
            ORDER BY id LIMIT ?3
        """  # noqa: S608 - as above
        values = (after or "", within, limit)
        rows = await self._session.run(lambda connection: connection.execute(sql, values).fetchall())
        return [agent_of(row, from_rfc3339) for row in rows]

    async def count(self) -> int:
        """Count the active agents."""
        return await self._number("SELECT count(*) FROM agents WHERE active")

    async def seats_before(self, agent_id: str) -> int:
        """Count the active agents that were registered before this one: all of them if it is not an active one."""
        sql = """
            SELECT count(*) FROM agents AS other LEFT JOIN agents AS this ON this.id = ? AND this.active
            WHERE other.active AND (this.id IS NULL OR (other.created_at, other.id) < (this.created_at, this.id))
        """
        return await self._number(sql, agent_id)

    async def is_listed_outside(self, agent_id: str, namespace: str) -> bool:
        """Tell whether a memory is shared with an agent that lies outside a namespace and those below it."""
        sql = """
            SELECT EXISTS (
                SELECT 1 FROM memory_shares AS s JOIN memories_v2 AS m ON m.id = s.memory_id
                WHERE s.agent_id = ?1 AND m.namespace <> ?2 AND substr(m.namespace, 1, length(?2) + 1) <> ?2 || '/'
            )
        """
        return bool(await self._number(sql, agent_id, namespace))

    async def belongings(self, agent_ids: Sequence[str]) -> dict[str, Belongings]:
        """Return what agents own, by id; those that own nothing are left out."""
        sql = """
            SELECT agent_id, memories, bytes FROM agent_belongings
            WHERE agent_id IN (SELECT value FROM json_each(?)) AND memories > 0
        """
        wanted = (orjson.dumps(list(agent_ids)).decode(),)
        rows = await self._session.run(lambda connection: connection.execute(sql, wanted).fetchall())
        return {agent_id: Belongings(memories, size) for agent_id, memories, size in rows}

    async def _number(self, sql: str, *values: str) -> int:
        return await self._session.run(lambda connection: int(connection.execute(sql, values).fetchone()[0]))


@attrs.frozen
class SqliteCredentials:
    """API keys and revoked tokens in one transaction."""

    _session: Session

    async def find(self, key_id: str) -> ApiKey | None:
        """Return a key, revoked and expired ones included, or None."""
        sql = f"SELECT {KEY} FROM api_keys WHERE id = ?"  # noqa: S608 - as above
        row = await self._session.run(lambda connection: connection.execute(sql, (key_id,)).fetchone())
        return None if row is None else key_of(row, from_rfc3339)

    async def keys(self, agent_id: str | None) -> list[ApiKey]:
        """Return the keys of an agent, or of all, newest first."""
        sql = f"SELECT {KEY} FROM api_keys WHERE ?1 IS NULL OR agent_id = ?1 ORDER BY created_at DESC, id"  # noqa: S608 - as above
        rows = await self._session.run(lambda connection: connection.execute(sql, (agent_id,)).fetchall())
        return [key_of(row, from_rfc3339) for row in rows]

    async def add(self, key: ApiKey) -> None:
        """Store a key."""
        sql = f"INSERT INTO api_keys ({KEY}) VALUES (?{', ?' * 7})"  # noqa: S608 - as above
        times = [_written(moment) for moment in (key.expires_at, key.revoked_at, key.last_used_at)]
        values = (key.id, key.agent_id, key.digest, key.name, rfc3339(key.created_at), *times)
        await self._session.run(lambda connection: connection.execute(sql, values))

    async def revoke(self, key_id: str, at: datetime) -> bool:
        """Revoke a key, and tell whether there is one; the first time stays."""
        sql = "UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?"
        values = (rfc3339(at), key_id)
        return await self._session.run(lambda connection: connection.execute(sql, values).rowcount > 0)

    async def note_uses(self, uses: Mapping[str, datetime]) -> None:
        """Remember when keys were used last, by id; those that are gone are passed over."""
        sql = "UPDATE api_keys SET last_used_at = max(coalesce(last_used_at, ''), ?) WHERE id = ?"
        rows = [(rfc3339(moment), key_id) for key_id, moment in uses.items()]
        await self._session.defer(lambda connection: connection.executemany(sql, rows))

    async def revoke_token(self, token_id: str, expires_at: datetime) -> None:
        """Revoke a token until it expires by itself."""
        sql = "INSERT INTO revoked_tokens (id, expires_at) VALUES (?, ?) ON CONFLICT (id) DO NOTHING"
        values = (token_id, rfc3339(expires_at))
        await self._session.defer(lambda connection: connection.execute(sql, values))

    async def forget_tokens(self, before: datetime) -> None:
        """Forget the revoked tokens that had expired by themselves before a time."""
        sql = "DELETE FROM revoked_tokens WHERE expires_at < ?"
        await self._session.defer(lambda connection: connection.execute(sql, (rfc3339(before),)))


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)
