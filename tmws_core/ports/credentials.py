"""What agents prove with who they are."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from tmws_core.domain.credential import ApiKey


class Credentials(Protocol):
    """API keys and revoked tokens as one snapshot or transaction sees them; changes belong to a transaction only."""

    async def find(self, key_id: str) -> ApiKey | None:
        """Return a key, revoked and expired ones included, or None."""
        ...

    async def keys(self, agent_id: str | None) -> list[ApiKey]:
        """Return the keys of an agent, or of all, newest first."""
        ...

    async def add(self, key: ApiKey) -> None:
        """Store a key."""
        ...

    async def revoke(self, key_id: str, at: datetime) -> bool:
        """Revoke a key, and tell whether there is one; the first time stays."""
        ...

    async def note_uses(self, uses: Mapping[str, datetime]) -> None:
        """Remember when keys were used last, by id; those that are gone are passed over."""
        ...

    async def revoke_token(self, token_id: str, expires_at: datetime) -> None:
        """Revoke a token until it expires by itself."""
        ...

    async def forget_tokens(self, before: datetime) -> None:
        """Forget the revoked tokens that had expired by themselves before a time."""
        ...
