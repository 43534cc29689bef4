"""What the settings say of those who call over HTTP, made into the services that issue and check credentials."""

import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tmws_adapters.bootstrap import Parts
from tmws_adapters.sealing import secrets_of
from tmws_adapters.secret import derived
from tmws_adapters.settings import Settings
from tmws_core.errors import ConfigurationError
from tmws_core.ports.system import Clock
from tmws_core.services.authentication import Authentication
from tmws_core.services.credentials import Credentials

if TYPE_CHECKING:
    from tmws_adapters.tokens import ExternalIssuer

logger = logging.getLogger("tmws")


def check_authentication(settings: Settings) -> None:
    """Refuse settings that a server cannot authenticate with.

    Raises:
        ConfigurationError: there is no secret key in production, or it is not said for whom an issuer's tokens are.
    """
    if settings.environment == "production" or settings.authenticates:
        secrets_of(settings)
    if settings.authenticates:
        _issuer_of(settings)


@asynccontextmanager
async def open_authentication(settings: Settings, parts: Parts) -> AsyncIterator[Authentication | None]:
    """Open what tells who calls over HTTP, or None where nobody is asked; errors as in check_authentication.

    Whoever serves runs it beside, see `Authentication.run`.
    """
    if not settings.authenticates:
        yield None
        return
    from tmws_adapters.tokens import open_tokens  # noqa: PLC0415 - it imports cryptography, which takes 0.1 s

    issuer = _issuer_of(settings)
    async with open_tokens(secrets_of(settings), parts.clock, issuer) as tokens:
        trusted = f", and tokens of {issuer.name}" if issuer else ""
        logger.info("✅ Authentication: API keys and tokens%s", trusted)
        yield Authentication(
            holders=parts.holders, tokens=tokens, storage=parts.storage, clock=parts.clock, trail=parts.trail
        )


@asynccontextmanager
async def open_credentials(settings: Settings, parts: Parts) -> AsyncIterator[Credentials]:
    """Open what issues and revokes credentials; errors as in check_authentication."""
    from tmws_adapters.tokens import OwnTokens, open_tokens  # noqa: PLC0415 - as above

    own = secrets_of(settings)
    async with open_tokens(own, parts.clock, _issuer_of(settings)) as reader:
        yield Credentials(
            storage=parts.storage,
            tokens=OwnTokens(secrets=own, clock=parts.clock),
            reader=reader,
            clock=parts.clock,
            ids=parts.ids,
            chance=secrets.token_bytes,
            audited=settings.audit_log_enabled,
        )


def session_keys(settings: Settings, clock: Clock) -> Callable[[], list[bytes]]:
    """Return what tells the keys that MCP sessions are sealed with, the current one first; errors as above."""
    own = secrets_of(settings)
    keys = {secret: derived(secret, "mcp session") for secret in (own.current, own.previous) if secret}
    return lambda: [keys[secret] for secret in own.good_at(clock.now())]


def _issuer_of(settings: Settings) -> "ExternalIssuer | None":
    from tmws_adapters.tokens import ExternalIssuer  # noqa: PLC0415 - as above

    if not settings.oauth_issuer:
        return None
    audience = settings.oauth_audience or (settings.public_url and f"{settings.public_url.rstrip('/')}/mcp")
    if not audience:
        raise ConfigurationError(
            setting="TMWS_OAUTH_AUDIENCE",
            reason="is needed by TMWS_OAUTH_ISSUER, so that tokens for other servers are not good here",
            hint="Set it, or set TMWS_PUBLIC_URL",
        )
    return ExternalIssuer(
        name=settings.oauth_issuer,
        audience=audience,
        agent_claim=settings.oauth_agent_claim,
        jwks_url=settings.oauth_jwks_url,
    )
