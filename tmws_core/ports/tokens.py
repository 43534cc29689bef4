"""Access tokens: signed statements of who calls."""

from datetime import datetime
from typing import Protocol

import attrs

from tmws_core.domain.constraints import Text

NAME = Text(minimum=1, maximum=512)
"""What an agent and a token are called by; issuers number their tokens with 30 to 100 characters."""


@attrs.frozen(kw_only=True)
class Token:
    """What a good token says; `id` is None where an issuer does not number its tokens.

    InvalidField for a name that is no text: a signature says who wrote a token, not that it makes sense.
    """

    agent_id: str = attrs.field(validator=attrs.validators.and_(attrs.validators.instance_of(str), NAME))
    id: str | None = attrs.field(
        validator=attrs.validators.and_(attrs.validators.optional(attrs.validators.instance_of(str)), NAME)
    )
    expires_at: datetime
    issuer: str


class TokenReader(Protocol):
    """Reads tokens."""

    async def read(self, text: str) -> Token:
        """Return what a token says whose signature, issuer, audience and times are right; it may be revoked.

        Raises:
            Unauthenticated: it is not good; the reason is in the error.
            IssuerUnavailable: its issuer's keys cannot be had.
        """
        ...


class TokenWriter(Protocol):
    """Makes tokens of this instance."""

    def write(self, token_id: str, agent_id: str, *, at: datetime, expires_at: datetime) -> str:
        """Return a token for an agent, good from `at` on; both times count in whole seconds."""
        ...
