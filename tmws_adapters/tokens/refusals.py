"""What the errors of PyJWT mean to whoever sent the token; nothing of the token is in them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import jwt

from tmws_core.errors import InvalidField, Unauthenticated

FAILURES = (jwt.PyJWTError, InvalidField, TypeError, ValueError, OverflowError, OSError, RecursionError)
"""What reading a token raises; all but PyJWT's own is about values that are none, such as a time in the year 10^9."""

TIMES = frozenset({"exp", "nbf", "iat"})
"""The claims that are times."""

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
    """Return when a token ends; may raise one of FAILURES.

    A time is a JSON number (RFC 7519, section 2): PyJWT also takes a text of digits, and true for 1.
    """
    for name in TIMES & claims.keys():
        if isinstance(claims[name], bool) or not isinstance(claims[name], int | float):
            raise jwt.DecodeError
    return datetime.fromtimestamp(int(claims["exp"]), UTC)
