"""Tokens of an issuer that is trusted besides our own."""

from typing import Any

import attrs
import jwt

from tmws_adapters.tokens.issuer import ExternalIssuer
from tmws_adapters.tokens.keys import ALGORITHMS, IssuerKeys
from tmws_adapters.tokens.refusals import ALGORITHM, FAILURES, RENEW, expiry_of, refusal_of
from tmws_core.errors import Unauthenticated
from tmws_core.ports.tokens import Token

LEEWAY_SECONDS = 30
"""How much the issuer's clock and ours may differ; RFC 7519, section 4.1.4, allows a few minutes."""


@attrs.frozen(kw_only=True)
class IssuedTokens:
    """Reads the tokens of one issuer."""

    issuer: ExternalIssuer
    keys: IssuerKeys

    async def read(self, text: str) -> Token:
        """Return what a token says; see `TokenReader.read`."""
        try:
            header = jwt.get_unverified_header(text)
        except FAILURES as error:
            raise refusal_of(error) from None
        if header.get("alg") not in ALGORITHMS:
            raise Unauthenticated(reason=ALGORITHM, hint=RENEW)
        key = await self.keys.find(header.get("kid"))
        if key is None:
            raise Unauthenticated(reason="The token is signed with a key that its issuer does not have", hint=RENEW)
        try:
            return self._read(text, key)
        except FAILURES as error:
            raise refusal_of(error) from None

    def _read(self, text: str, key: jwt.PyJWK) -> Token:
        claim = self.issuer.agent_claim
        claims: dict[str, Any] = jwt.decode(
            text,
            key,
            [key.algorithm_name],
            {"require": ["iss", "aud", "exp", claim], "enforce_minimum_key_length": True},
            audience=self.issuer.audience,
            issuer=self.issuer.name,
            leeway=LEEWAY_SECONDS,
        )
        return Token(
            agent_id=claims[claim], id=claims.get("jti"), expires_at=expiry_of(claims), issuer=self.issuer.name
        )
