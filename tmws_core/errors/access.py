"""Who is kept from what: by their rights, their credentials, the licence, and the limits."""

import attrs

from tmws_core.errors.base import Kind, TmwsError


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class Forbidden(TmwsError):
    """The caller may see the thing but not do this with it."""

    code = "forbidden"
    kind = Kind.FORBIDDEN

    action: str
    needs: str
    name: str | None = None

    @property
    def problem(self) -> str:
        """Name the action."""
        return f"You may not {self.action}"

    @property
    def remedy(self) -> str:
        """Say who may."""
        return f"It needs {self.needs}"

    @property
    def field(self) -> str | None:
        """Name the argument at fault."""
        return self.name


class AgentInactive(Forbidden):
    """The agent was deactivated: nothing runs in its name any more."""

    code = "agent_inactive"


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class AgentNotFound(TmwsError):
    """No agent with this id exists for the caller."""

    code = "agent_not_found"
    kind = Kind.NOT_FOUND

    agent_id: str
    name: str = "agent_id"

    @property
    def problem(self) -> str:
        """Name the id."""
        return f"There is no agent {self.agent_id}"

    @property
    def remedy(self) -> str:
        """Say how to find one."""
        return f"List the agents that you can see, or register it: tmws agent register {self.agent_id}"

    @property
    def field(self) -> str | None:
        """Name the argument at fault."""
        return self.name


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class AgentExists(TmwsError):
    """The id is taken: by an agent, or by whoever a list of readers elsewhere means by it."""

    code = "agent_exists"
    kind = Kind.CONFLICT

    agent_id: str

    @property
    def problem(self) -> str:
        """Name the id."""
        return f"The agent id {self.agent_id} is taken"

    @property
    def remedy(self) -> str:
        """Say how to change it."""
        return (
            "If you manage that agent, change it with update_agent, or else choose another id or ask an administrator"
        )

    @property
    def field(self) -> str | None:
        """Name the argument at fault."""
        return "agent_id"


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class Unauthenticated(TmwsError):
    """The caller has not proven who it is; `reason` tells nobody whether an agent or a key exists."""

    code = "unauthenticated"
    kind = Kind.UNAUTHENTICATED

    reason: str
    hint: str = "Send Authorization: Bearer with an API key or a token"

    @property
    def problem(self) -> str:
        """Say what is wrong with the credentials."""
        return self.reason

    @property
    def remedy(self) -> str:
        """Say what to send."""
        return self.hint


class CredentialNotFound(TmwsError):
    """No API key has this id, and it is no token; what was given is not repeated."""

    code = "credential_not_found"
    kind = Kind.NOT_FOUND

    @property
    def problem(self) -> str:
        """Say what there is not."""
        return "There is no such API key, and it is no token"

    @property
    def remedy(self) -> str:
        """Say how to find one."""
        return "List the API keys with: tmws token list"


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class RateLimited(TmwsError):
    """More requests came than are allowed; the next one is in `retry_after` seconds."""

    code = "rate_limited"
    kind = Kind.LIMITED

    limit: str
    retry_after: float

    @property
    def problem(self) -> str:
        """Name the limit."""
        return f"Too many requests: {self.limit}"

    @property
    def remedy(self) -> str:
        """Say when to come back."""
        return f"Try again in {self.retry_after:.1f} seconds"


class LockedOut(RateLimited):
    """Too many wrong credentials came from this address."""

    code = "locked_out"


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class Overloaded(TmwsError):
    """The server runs as many requests as it can; this one was not begun."""

    code = "overloaded"
    kind = Kind.UNAVAILABLE

    retry_after: float = 1.0

    @property
    def problem(self) -> str:
        """Say that it is too much."""
        return "The server is busy with as many requests as it takes at once"

    @property
    def remedy(self) -> str:
        """Say when to come back."""
        return f"Try again in {self.retry_after:g} seconds"


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class LicenseLimit(TmwsError):
    """The licence has no seat for this agent; what is stored can still be read, searched and exported."""

    code = "license_limit"
    kind = Kind.FORBIDDEN

    tier: str
    limit: int
    agent_id: str

    @property
    def problem(self) -> str:
        """Name the tier and its limit."""
        agents = "1 agent" if self.limit == 1 else f"{self.limit} agents"
        return f"The {self.tier} licence allows {agents}, and {self.agent_id} would be one more"

    @property
    def remedy(self) -> str:
        """Say how to get a seat."""
        return "Deactivate an agent, work in the name of one that has a seat, or set TMWS_LICENSE_KEY to a larger tier"

    @property
    def field(self) -> str | None:
        """Name the argument at fault."""
        return "agent_id"


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class QuotaExceeded(TmwsError):
    """The agent would own more than the settings allow; nothing of the change was stored."""

    code = "quota_exceeded"
    kind = Kind.FORBIDDEN

    agent_id: str
    what: str
    limit: int
    by_other: bool = False

    @property
    def problem(self) -> str:
        """Name the agent and the limit."""
        if self.by_other:
            return f"Others may fill {self.agent_id}'s quota up to {self.limit} {self.what}, and this would be more"
        return f"{self.agent_id} may own {self.limit} {self.what}, and this would be more"

    @property
    def remedy(self) -> str:
        """Say how to go on."""
        if self.by_other:
            return f"Let {self.agent_id} make the change, or store a memory of your own"
        return f"Delete memories, or raise TMWS_QUOTA_{self.what.upper()}"
