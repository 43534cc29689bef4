"""Who holds a credential: what each request asks before anything else."""

from typing import Protocol

import attrs

from tmws_core.domain.agent import Role
from tmws_core.domain.credential import ApiKey


@attrs.frozen(kw_only=True)
class Holder:
    """The agent behind a credential, as far as its rights depend on it."""

    agent_id: str
    namespace: str
    role: Role
    active: bool


class Holders(Protocol):
    """Answers each question from one moment, with what other processes have committed before."""

    async def of_key(self, key_id: str) -> tuple[ApiKey, Holder] | None:
        """Return a key, revoked and expired ones included, and its agent, or None if there is no such key."""
        ...

    async def of_token(self, agent_id: str, token_id: str | None) -> tuple[Holder | None, bool]:
        """Return the agent, or None if it is not registered, and whether the token was revoked."""
        ...
