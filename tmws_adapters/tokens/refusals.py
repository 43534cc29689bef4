"""What the errors of PyJWT mean to whoever sent the token; nothing of the token is in them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import jwt

from tmws_core.errors import Unauthenticated

FAILURES = (jwt.PyJWTError, ValueError, OverflowError, OSError)
"""What reading a token raises; all but PyJWT's own is about values that are none, such as a time in the year 10^9."""

ALGORITHM = "The token is not signed with an algorithm that is accepted here"

RENEW = "Get a new one"

_REASONS: Mapping[type[Exception], tuple[str, str]] = {
    jwt.ExpiredSignatureError: ("The token has expired", RENEW),
    jwt.ImmatureSignatureError: ("The token is not valid yet", "Use it later, or set the clocks right"),
    jwt.InvalidAudienceError: ("The token is for another audience", RENEW),
    jwt.InvalidIssuerError: ("The token is from another issuer", RENEW),
    jwt.InvalidSignatureError: ("The signature of the token is wrong", RENEW),
    jwt.InvalidAlgorithmError: (ALGORITHM, RENEW),
    jwt.InvalidKeyError: ("The token is signed with a key that is too weak", RENEW),
}


def refusal_of(error: Exception) -> Unauthenticated:
    """Return what an error in reading a token says to its sender."""
    if isinstance(error, jwt.MissingRequiredClaimError):
        return Unauthenticated(reason=f"The token lacks the claim {error.claim}", hint=RENEW)
    reason, hint = _REASONS.get(type(error), ("The token is malformed", RENEW))
    return Unauthenticated(reason=reason, hint=hint)


def expiry_of(claims: Mapping[str, Any]) -> datetime:
    """Return when a token ends whose `exp` was found to be a number; may raise one of FAILURES."""
    return datetime.fromtimestamp(int(claims["exp"]), UTC)
