"""API keys and tokens: issue, list, revoke."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import attrs

from tmws_core.domain.agent import Caller
from tmws_core.domain.audit import AuditEvent, Detail
from tmws_core.domain.credential import SECRET_BYTES, ApiKey, digest_of, is_token, parsed_key, written_key
from tmws_core.errors import AgentInactive, AgentNotFound, CredentialNotFound, InvalidField
from tmws_core.ports.storage import Storage, UnitOfWork
from tmws_core.ports.system import Clock, Ids
from tmws_core.ports.tokens import TokenReader, TokenWriter

TOKEN_DAYS = 1.0
"""How long a token is good unless told otherwise: its secret cannot be taken back without asking at each use."""

LONGEST = timedelta(days=365)
"""How long a token is good at most; the revocation of one of which only the id is known is kept for as long."""

_KEY_ID = re.compile(r"[0-9a-f]{16}")

_KEY_ID_BYTES = 8

_TOKEN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@attrs.frozen(kw_only=True)
class Issued:
    """A credential that was issued; `text` is what its holder sends, and is kept nowhere else."""

    id: str
    agent_id: str
    text: str = attrs.field(repr=False)
    expires_at: datetime | None


@attrs.frozen(kw_only=True)
class Revoked:
    """What was revoked: an `api key` or a `token`, by its id."""

    kind: str
    id: str


@attrs.frozen(kw_only=True)
class Credentials:
    """What agents prove with over HTTP who they are; each change is one transaction with its audit event.

    `chance` returns as many random bytes as it is asked for.
    """

    storage: Storage
    tokens: TokenWriter
    reader: TokenReader
    clock: Clock
    ids: Ids
    chance: Callable[[int], bytes]
    audited: bool

    async def issue_key(
        self, caller: Caller, agent_id: str, *, name: str | None = None, lifetime: timedelta | None = None
    ) -> Issued:
        """Issue an API key, which does not expire without a `lifetime`.

        Raises:
            AgentNotFound: the agent is not registered.
            AgentInactive: it was deactivated.
            InvalidField: the name is none.
        """
        now = self.clock.now()
        secret, key_id = self.chance(SECRET_BYTES), self.chance(_KEY_ID_BYTES).hex()
        key = ApiKey(
            id=key_id,
            agent_id=agent_id,
            digest=digest_of(secret),
            name=name,
            created_at=now,
            expires_at=None if lifetime is None else now + lifetime,
        )
        async with self.storage.write() as unit:
            await _check_agent(unit, agent_id)
            await unit.credentials.add(key)
            await self._record(unit, caller, "api_key.issued", agent=agent_id, key_id=key_id)
        return Issued(id=key_id, agent_id=agent_id, text=written_key(key_id, secret), expires_at=key.expires_at)

    async def issue_token(self, caller: Caller, agent_id: str, *, lifetime: timedelta) -> Issued:
        """Issue a token; nothing of it is stored.

        Raises:
            AgentNotFound: the agent is not registered.
            AgentInactive: it was deactivated.
            InvalidField: `lifetime` is more than LONGEST.
        """
        if lifetime > LONGEST:
            raise InvalidField(
                name="days", reason=f"is more than {LONGEST.days}", hint="Issue an API key for a longer time"
            )
        now = self.clock.now()
        token_id = self.ids.new()
        async with self.storage.write() as unit:
            await _check_agent(unit, agent_id)
            await self._record(unit, caller, "token.issued", agent=agent_id, token_id=token_id)
        text = self.tokens.write(token_id, agent_id, at=now, expires_at=now + lifetime)
        return Issued(id=token_id, agent_id=agent_id, text=text, expires_at=now + lifetime)

    async def keys(self, agent_id: str | None = None) -> list[ApiKey]:
        """Return the API keys of an agent, or all of them, newest first."""
        async with self.storage.read() as snapshot:
            return await snapshot.credentials.keys(agent_id)

    async def revoke(self, caller: Caller, what: str) -> Revoked:
        """Revoke an API key, by its id or by itself, or a token, by itself or by its id; once more does nothing.

        Of a token id it cannot be told whether there is one.

        Raises:
            CredentialNotFound: it is nothing of that, or there is no such key.
            Unauthenticated: the token is not good any more, and needs no revocation.
            IssuerUnavailable: nobody can tell whether the token is good.
        """
        parsed = parsed_key(what)
        if parsed is not None or _KEY_ID.fullmatch(what):
            return await self._revoke_key(caller, what if parsed is None else parsed.id)
        if _TOKEN_ID.fullmatch(what):
            return await self._revoke_token(caller, what, self.clock.now() + LONGEST)
        if not is_token(what):
            raise CredentialNotFound
        token = await self.reader.read(what)
        if token.id is None:
            raise InvalidField(name="token", reason="has no id", hint="Let its issuer revoke it")
        return await self._revoke_token(caller, token.id, token.expires_at)

    async def _revoke_key(self, caller: Caller, key_id: str) -> Revoked:
        now = self.clock.now()
        async with self.storage.write() as unit:
            if not await unit.credentials.revoke(key_id, now):
                raise CredentialNotFound
            await self._record(unit, caller, "api_key.revoked", key_id=key_id)
        return Revoked(kind="api-key", id=key_id)

    async def _revoke_token(self, caller: Caller, token_id: str, expires_at: datetime) -> Revoked:
        now = self.clock.now()
        async with self.storage.write() as unit:
            await unit.credentials.forget_tokens(now - LONGEST)  # a clock that steps back brings no token back
            await unit.credentials.revoke_token(token_id, expires_at)
            await self._record(unit, caller, "token.revoked", token_id=token_id)
        return Revoked(kind="jwt", id=token_id)

    async def _record(self, unit: UnitOfWork, caller: Caller, event_type: str, **details: Detail) -> None:
        if self.audited:
            told: dict[str, Detail] = {**details, "transport": caller.transport}
            now = self.clock.now()
            await unit.audit([AuditEvent(timestamp=now, event_type=event_type, agent_id=caller.agent_id, details=told)])


async def _check_agent(unit: UnitOfWork, agent_id: str) -> None:
    agent = await unit.agents.find(agent_id)
    if agent is None:
        raise AgentNotFound(agent_id=agent_id)
    if not agent.active:
        raise AgentInactive(action=f"issue a credential of {agent_id}", needs="an active agent", name="agent_id")
