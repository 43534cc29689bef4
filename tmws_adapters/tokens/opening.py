"""Everything that reads tokens, opened."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from tmws_adapters.secret import Secrets
from tmws_adapters.tokens.issuer import ExternalIssuer
from tmws_adapters.tokens.own import OwnTokens
from tmws_adapters.tokens.refusals import ALGORITHM, RENEW
from tmws_core.errors import Unauthenticated
from tmws_core.ports.system import Clock
from tmws_core.ports.tokens import Token, TokenReader


@attrs.frozen(kw_only=True)
class Tokens:
    """Reads our own tokens, and those of an issuer if one is trusted: the algorithm tells them apart."""

    own: OwnTokens
    issued: TokenReader | None

    async def read(self, text: str) -> Token:
        """Return what a token says; see `TokenReader.read`."""
        token = self.own.read(text)
        if token is not None:
            return token
        if self.issued is None:
            raise Unauthenticated(reason=ALGORITHM, hint=RENEW)
        return await self.issued.read(text)


@asynccontextmanager
async def open_tokens(secrets: Secrets, clock: Clock, issuer: ExternalIssuer | None = None) -> AsyncIterator[Tokens]:
    """Open a reader; an issuer is asked when the first of its tokens comes.

    Raises ConfigurationError if the issuer, or its keys, are at no safe address.
    """
    own = OwnTokens(secrets=secrets, clock=clock)
    if issuer is None:
        yield Tokens(own=own, issued=None)
        return
    # They import httpx, which takes 0.1 s.
    from tmws_adapters.tokens.issued import IssuedTokens  # noqa: PLC0415
    from tmws_adapters.tokens.keys import open_keys  # noqa: PLC0415

    async with open_keys(issuer.name, issuer.jwks_url, clock) as keys:
        yield Tokens(own=own, issued=IssuedTokens(issuer=issuer, keys=keys))
