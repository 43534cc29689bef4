"""Agents, and what they prove with who they are, in one snapshot or transaction."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import attrs

from tmws_adapters.postgres.connections import Connections, Reading
from tmws_adapters.postgres.locks import lock_agent, lock_seats, share_agents
from tmws_adapters.postgres.session import Session
from tmws_adapters.sql.agents import AGENT, KEY, agent_of, agent_values, holder_of, key_of
from tmws_adapters.sql.times import native
from tmws_core.domain.agent import Agent, Belongings
from tmws_core.domain.credential import ApiKey
from tmws_core.ports.holders import Holder

_TEN = ", ".join(["%s"] * 10)


@attrs.frozen
class PostgresAgents:
    """The agents in one transaction. What a unit has looked up stays as it is until the unit ends."""

    _session: Session

    async def find(self, agent_id: str) -> Agent | None:
        """Return an agent, or None."""
        if self._session.writes:
            lock_agent(self._session, agent_id)
        row = await self._session.row(f"SELECT {AGENT} FROM agents WHERE id = %s", (agent_id,))  # noqa: S608 - names are constants, values are bound
        return None if row is None else agent_of(row, native)

    async def registered(self, agent_ids: Collection[str], *, changing: Collection[str] = ()) -> dict[str, Agent]:
        """Return by id those of the agents that are registered."""
        if self._session.writes:
            share_agents(self._session, agent_ids, changing)
        sql = f"SELECT {AGENT} FROM agents WHERE id = ANY(%s::text[])"  # noqa: S608 - as above
        rows = await self._session.rows(sql, ([*agent_ids, *changing],))
        return {agent.id: agent for agent in (agent_of(row, native) for row in rows)}

    async def add(self, agent: Agent) -> None:
        """Register an agent; does nothing if it is known."""
        sql = f"INSERT INTO agents ({AGENT}) VALUES ({_TEN}) ON CONFLICT (id) DO NOTHING"  # noqa: S608 - as above
        values = agent_values(agent, native)
        if self._session.writes:
            self._session.later(sql, values)
        else:
            await self._session.run(sql, values)

    async def replace(self, agent: Agent) -> None:
        """Put an agent in the place of the one with its id, which must be known."""
        sql = f"UPDATE agents SET ({AGENT}) = ({_TEN}) WHERE id = %s"  # noqa: S608 - as above
        await self._session.run(sql, (*agent_values(agent, native), agent.id))

    async def page(self, within: str | None, *, after: str | None, limit: int) -> list[Agent]:
        """Return at most `limit` agents in the order of their ids, beginning behind the id `after`."""
        sql = f"""
            SELECT {AGENT} FROM agents
            WHERE id > %(after)s AND (
                %(within)s::text IS NULL OR namespace = %(within)s OR starts_with(namespace, %(within)s || '/')
            )
            ORDER BY id LIMIT %(limit)s
        """  # noqa: S608 - as above
        rows = await self._session.rows(sql, {"after": after or "", "within": within, "limit": limit})
        return [agent_of(row, native) for row in rows]

    async def count(self) -> int:
        """Count the active agents."""
        ((number,),) = await self._session.rows("SELECT count(*) FROM agents WHERE active")
        return int(number)

    async def seats_before(self, agent_id: str) -> int:
        """Count the active agents that were registered before this one: all of them if it is not an active one."""
        number, active = await self._seats_before(agent_id)
        if self._session.writes and not active:
            # Who registers it next must find as many as are counted now; agents that have their seat keep it.
            lock_seats(self._session)
            number, _ = await self._seats_before(agent_id)
        return number

    async def is_listed_outside(self, agent_id: str, namespace: str) -> bool:
        """Tell whether a memory is shared with an agent that lies outside a namespace and those below it."""
        sql = """
            SELECT EXISTS (
                SELECT 1 FROM memory_shares AS s JOIN memories_v2 AS m ON m.id = s.memory_id
                WHERE s.agent_id = %(agent)s
                    AND m.namespace <> %(within)s AND NOT starts_with(m.namespace, %(within)s || '/')
            )
        """
        with self._session.seeing_all():
            ((listed,),) = await self._session.rows(sql, {"agent": agent_id, "within": namespace})
        return bool(listed)

    async def belongings(self, agent_ids: Sequence[str]) -> dict[str, Belongings]:
        """Return what agents own, by id; those that own nothing are left out."""
        sql = "SELECT agent_id, memories, bytes FROM agent_belongings WHERE agent_id = ANY(%s::text[]) AND memories > 0"
        rows = await self._session.rows(sql, (list(agent_ids),))
        return {agent_id: Belongings(memories, size) for agent_id, memories, size in rows}

    async def _seats_before(self, agent_id: str) -> tuple[int, bool]:
        sql = """
            SELECT count(*), bool_or(this.id IS NOT NULL)
            FROM agents AS other LEFT JOIN agents AS this ON this.id = %s AND this.active
            WHERE other.active AND (this.id IS NULL OR (other.created_at, other.id) <= (this.created_at, this.id))
        """
        ((number, active),) = await self._session.rows(sql, (agent_id,))
        return number - bool(active), bool(active)


@attrs.frozen
class PostgresCredentials:
    """API keys and revoked tokens in one transaction."""

    _session: Session

    async def find(self, key_id: str) -> ApiKey | None:
        """Return a key, revoked and expired ones included, or None."""
        row = await self._session.row(f"SELECT {KEY} FROM api_keys WHERE id = %s", (key_id,))  # noqa: S608 - as above
        return None if row is None else key_of(row, native)

    async def keys(self, agent_id: str | None) -> list[ApiKey]:
        """Return the keys of an agent, or of all, newest first."""
        sql = f"""
            SELECT {KEY} FROM api_keys WHERE %(agent_id)s::text IS NULL OR agent_id = %(agent_id)s
            ORDER BY created_at DESC, id
        """  # noqa: S608 - as above
        return [key_of(row, native) for row in await self._session.rows(sql, {"agent_id": agent_id})]

    async def add(self, key: ApiKey) -> None:
        """Store a key."""
        await self._session.run(
            f"INSERT INTO api_keys ({KEY}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",  # noqa: S608 - as above
            (
                key.id,
                key.agent_id,
                key.digest,
                key.name,
                key.created_at,
                key.expires_at,
                key.revoked_at,
                key.last_used_at,
            ),
        )

    async def revoke(self, key_id: str, at: datetime) -> bool:
        """Revoke a key, and tell whether there is one; the first time stays."""
        sql = "UPDATE api_keys SET revoked_at = coalesce(revoked_at, %s) WHERE id = %s"
        return await self._session.run(sql, (at, key_id)) > 0

    async def note_uses(self, uses: Mapping[str, datetime]) -> None:
        """Remember when keys were used last, by id; those that are gone are passed over."""
        # One after the other and in order, so that two processes never wait for each other.
        sql = "UPDATE api_keys SET last_used_at = greatest(last_used_at, %s) WHERE id = %s"
        await self._session.run_many(sql, [(moment, key_id) for key_id, moment in sorted(uses.items())])

    async def revoke_token(self, token_id: str, expires_at: datetime) -> None:
        """Revoke a token until it expires by itself."""
        sql = "INSERT INTO revoked_tokens (id, expires_at) VALUES (%s, %s) ON CONFLICT (id) DO NOTHING"
        await self._session.run(sql, (token_id, expires_at))

    async def forget_tokens(self, before: datetime) -> None:
        """Forget the revoked tokens that had expired by themselves before a time."""
        await self._session.run("DELETE FROM revoked_tokens WHERE expires_at < %s", (before,))


@attrs.frozen
class PostgresHolders:
    """Answers who holds a credential, each time from the committed state."""

    _connections: Reading

    async def of_key(self, key_id: str) -> tuple[ApiKey, Holder] | None:
        """Return a key, revoked and expired ones included, and its agent, or None if there is no such key."""
        columns = ", ".join(f"k.{name.strip()}" for name in KEY.split(","))
        sql = f"""
            SELECT {columns}, a.id, a.namespace, a.role, a.active
            FROM api_keys AS k JOIN agents AS a ON a.id = k.agent_id WHERE k.id = %s
        """  # noqa: S608 - as above
        async with self._connections.lookup() as session:
            row = await session.row(sql, (key_id,))
        return None if row is None else (key_of(row[:8], native), holder_of(row[8:]))

    async def of_token(self, agent_id: str, token_id: str | None) -> tuple[Holder | None, bool]:
        """Return the agent, or None if it is not registered, and whether the token was revoked."""
        sql = """
            SELECT EXISTS (SELECT 1 FROM revoked_tokens WHERE id = %s), a.id, a.namespace, a.role, a.active
            FROM (SELECT 1) AS one LEFT JOIN agents AS a ON a.id = %s
        """
        async with self._connections.lookup() as session:
            ((revoked, *holder),) = await session.rows(sql, (token_id, agent_id))
        return None if holder[0] is None else holder_of(holder), revoked


@attrs.frozen
class PostgresLicenseClock:
    """A LicenseClock in one row."""

    _connections: Connections

    async def last_seen(self) -> datetime | None:
        """Return that time, or None where no licence was looked at."""
        async with self._connections.lookup() as session:
            row = await session.row("SELECT last_seen FROM license_clock")
        return None if row is None else row[0]

    async def note(self, now: datetime) -> datetime:
        """Remember a time unless it lies before, durably, and return the latest."""
        sql = """
            INSERT INTO license_clock AS c (id, last_seen) VALUES (1, %s)
            ON CONFLICT (id) DO UPDATE SET last_seen = greatest(c.last_seen, excluded.last_seen) RETURNING last_seen
        """
        async with self._connections.unit() as session:
            ((latest,),) = await session.rows(sql, (now,))
        return latest if isinstance(latest, datetime) else now
