"""What all errors have in common: a stable code, a kind, typed facts and, where there is one, the remedy."""

import enum
from typing import ClassVar

import attrs


class Kind(enum.Enum):
    """What sort of failure an error is; the shells derive HTTP statuses and exit codes from it, nothing else does."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    LIMITED = "limited"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class TmwsError(Exception):
    """The base of all errors of TMWS.

    `code` is stable and safe to branch on. `field` names the argument at fault, as a path such as `tags[3]`; it is
    None where no single argument is. `remedy` is one imperative sentence for the person who has to act.
    """

    code: ClassVar[str] = "internal"
    kind: ClassVar[Kind] = Kind.INTERNAL

    @property
    def message(self) -> str:
        """Say what is wrong and, where there is a remedy, what to do about it."""
        remedy = self.remedy
        return f"{self.problem}. {remedy}" if remedy else self.problem

    @property
    def problem(self) -> str:
        """Say what is wrong, without a full stop."""
        return "Internal error"

    @property
    def remedy(self) -> str:
        """Say what to do about it, or the empty string."""
        return ""

    @property
    def field(self) -> str | None:
        """Name the argument at fault."""
        return None

    def __str__(self) -> str:
        return self.message
