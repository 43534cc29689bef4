"""Tokens that this instance signs and reads: HMAC-SHA256 (RFC 7515) with its secret key."""

from datetime import datetime

import attrs
import jwt

from tmws_adapters.secret import Secrets
from tmws_adapters.tokens.refusals import FAILURES, expiry_of, refusal_of
from tmws_core.errors import Unauthenticated
from tmws_core.ports.system import Clock
from tmws_core.ports.tokens import Token

ALGORITHM = "HS256"

NAME = "tmws"
"""The issuer and the audience of the tokens: both are whoever knows the secret key."""

CLAIMS = ["iss", "aud", "sub", "iat", "nbf", "exp", "jti"]


@attrs.frozen(kw_only=True)
class OwnTokens:
    """Writes tokens with the current secret key, and reads those of the former one, too."""

    secrets: Secrets
    clock: Clock

    def write(self, token_id: str, agent_id: str, *, at: datetime, expires_at: datetime) -> str:
        """Return a token for an agent, good from `at` on; both times count in whole seconds."""
        claims = {"iss": NAME, "aud": NAME, "sub": agent_id, "iat": at, "nbf": at, "exp": expires_at, "jti": token_id}
        return jwt.encode(claims, self.secrets.current, ALGORITHM)

    def read(self, text: str) -> Token | None:
        """Return what a token says, or None if it is not signed as ours are; Unauthenticated if it is not good."""
        refusal = Unauthenticated(reason="")
        for secret in self.secrets.good_at(self.clock.now()):
            try:
                return _read(text, secret)
            except jwt.InvalidAlgorithmError:
                return None
            except jwt.InvalidSignatureError as error:
                refusal = refusal_of(error)
            except FAILURES as error:
                raise refusal_of(error) from None
        raise refusal


def _read(text: str, secret: str) -> Token:
    claims = jwt.decode(text, secret, [ALGORITHM], {"require": CLAIMS}, audience=NAME, issuer=NAME)
    return Token(agent_id=claims["sub"], id=claims["jti"], expires_at=expiry_of(claims), issuer=NAME)
