"""Who calls: an API key or a token, and what the registry says of its agent."""

import hmac
import logging
from datetime import datetime

import anyio
import attrs

from tmws_core.domain.agent import ROLES, Caller, Transport
from tmws_core.domain.audit import AuditEvent, Detail
from tmws_core.domain.credential import ApiKey, is_token, parsed_key
from tmws_core.errors import AgentInactive, StorageUnavailable, Unauthenticated
from tmws_core.periodic import periodically
from tmws_core.ports.holders import Holder, Holders
from tmws_core.ports.storage import Storage
from tmws_core.ports.system import Clock
from tmws_core.ports.tokens import TokenReader
from tmws_core.trail import Trail

logger = logging.getLogger("tmws")

CREDENTIAL_BYTES = 8 * 1024
"""The longest credential that is looked at; tokens of large issuers have 2 KiB."""

INTERVAL_SECONDS = 60.0
"""Between two notes of when keys were used."""

NOBODY = "-"
"""In whose name the audit log keeps attempts that failed; no agent has this id."""

_NO_DIGEST = bytes(32)
"""What the secret of a key that does not exist is compared with."""

_KEY_PREFIX = "tmws_"


@attrs.frozen(kw_only=True)
class Attempt:
    """How a credential came: over which transport, from which address."""

    transport: Transport
    address: str


@attrs.frozen(kw_only=True)
class Authentication:
    """Tells who holds a credential; role, namespace and activity are always those of the registry, as of now."""

    holders: Holders
    tokens: TokenReader
    storage: Storage
    clock: Clock
    trail: Trail
    _uses: dict[str, datetime] = attrs.field(factory=dict, init=False)

    async def caller(self, credential: str, attempt: Attempt) -> Caller:
        """Return the caller that a credential belongs to.

        Raises:
            Unauthenticated: it is not good; the reason tells nothing that only its holder may know.
            AgentInactive: its agent was deactivated.
            PartUnavailable: it cannot be told now.
        """
        known: dict[str, Detail] = {}
        try:
            if len(credential) > CREDENTIAL_BYTES:
                raise Unauthenticated(reason=f"The credential is longer than {CREDENTIAL_BYTES} bytes")  # noqa: TRY301 - noted below
            check = self._of_key if credential.startswith(_KEY_PREFIX) else self._of_token
            return await check(credential, attempt, known)
        except (Unauthenticated, AgentInactive) as error:
            self._note("authentication.failed", NOBODY, attempt, reason=error.problem, **known)
            raise

    async def run(self) -> None:
        """Store when keys were used, every INTERVAL_SECONDS, and once more when cancelled."""
        try:
            await periodically(self.flush, INTERVAL_SECONDS)
        finally:
            if self._uses:
                logger.warning("⚠️ When %d API keys were used last could not be stored", len(self._uses))

    async def flush(self) -> None:
        """Store when keys were used; while the store is out of reach it is remembered."""
        if not self._uses:
            return
        uses = dict(self._uses)
        self._uses.clear()
        try:
            async with self.storage.write() as unit:
                await unit.credentials.note_uses(uses)
        except StorageUnavailable:
            self._restore(uses)
        except anyio.get_cancelled_exc_class():
            self._restore(uses)
            raise

    def _restore(self, uses: dict[str, datetime]) -> None:
        for key_id, moment in uses.items():
            self._uses.setdefault(key_id, moment)

    async def _of_key(self, text: str, attempt: Attempt, known: dict[str, Detail]) -> Caller:
        parsed = parsed_key(text)
        if parsed is None:
            raise Unauthenticated(reason="The API key is mistyped", hint="Copy it whole")
        found = await self.holders.of_key(parsed.id)
        if found is not None:
            known["key_id"] = parsed.id
        digest = _NO_DIGEST if found is None else found[0].digest
        if not hmac.compare_digest(digest, parsed.digest) or found is None:
            raise Unauthenticated(reason="There is no such API key", hint="Ask for one: tmws token issue")
        key, holder = found
        now = self.clock.now()
        _check_key(key, now)
        caller = _caller_of(holder, attempt)
        self._uses[key.id] = now
        self._note("authentication.succeeded", caller.agent_id, attempt, method="api_key", **known)
        return caller

    async def _of_token(self, text: str, attempt: Attempt, known: dict[str, Detail]) -> Caller:
        if not is_token(text):
            raise Unauthenticated(reason="The credential is neither an API key nor a token")
        token = await self.tokens.read(text)
        known |= {"issuer": token.issuer} if token.id is None else {"issuer": token.issuer, "token_id": token.id}
        holder, revoked = await self.holders.of_token(token.agent_id, token.id)
        if revoked:
            raise Unauthenticated(reason="The token was revoked", hint="Get a new one")
        if holder is None:
            raise Unauthenticated(
                reason="The agent of this token is not registered", hint="Register it with register_agent"
            )
        caller = _caller_of(holder, attempt)
        self._note("authentication.succeeded", caller.agent_id, attempt, method="token", **known)
        return caller

    def _note(self, event_type: str, agent_id: str, attempt: Attempt, **details: Detail) -> None:
        told: dict[str, Detail] = {**details, "address": attempt.address, "transport": attempt.transport}
        self.trail.note(AuditEvent(timestamp=self.clock.now(), event_type=event_type, agent_id=agent_id, details=told))


def _check_key(key: ApiKey, now: datetime) -> None:
    if key.revoked_at is not None:
        raise Unauthenticated(reason="The API key was revoked", hint="Ask for another: tmws token issue")
    if key.expires_at is not None and now >= key.expires_at:
        raise Unauthenticated(reason="The API key has expired", hint="Ask for another: tmws token issue")


def _caller_of(holder: Holder, attempt: Attempt) -> Caller:
    if not holder.active:
        raise AgentInactive(action=f"call as {holder.agent_id}", needs="an active agent")
    return Caller(
        agent_id=holder.agent_id,
        namespace=holder.namespace,
        permissions=ROLES[holder.role],
        transport=attempt.transport,
        identified=True,
        registered=True,
    )
