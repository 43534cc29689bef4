"""What can be wrong with a request."""

from collections.abc import Iterable

import attrs

from tmws_core.errors.base import Kind, TmwsError


def _told(also: Iterable[str]) -> tuple[str, ...]:
    return tuple(also)


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class InvalidField(TmwsError):
    """An argument is missing, unknown, of the wrong type or out of its range.

    `also` tells of other arguments at fault, and how it would be right.
    """

    code = "invalid_argument"
    kind = Kind.INVALID

    name: str
    reason: str
    hint: str = ""
    also: tuple[str, ...] = attrs.field(default=(), converter=_told)

    @property
    def problem(self) -> str:
        """Name the field and what is wrong with it."""
        return f"{self.name}: {self.reason}"

    @property
    def remedy(self) -> str:
        """Say which values are accepted, and what else is wrong."""
        return "; ".join(filter(None, (self.hint, *self.also)))

    @property
    def field(self) -> str | None:
        """Name the argument at fault."""
        return self.name

    def inside(self, path: str) -> "InvalidField":
        """Return the same error with its field placed below `path`, for example `memories[2]`."""
        joined = f"{path}{self.name}" if self.name.startswith("[") else f"{path}.{self.name}"
        return attrs.evolve(self, name=joined if self.name else path)


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class ContentTooLarge(InvalidField):
    """A text is longer than what one memory may hold."""

    code = "too_large"
    kind = Kind.TOO_LARGE


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class MalformedRequest(TmwsError):
    """The bytes of a request are not what the protocol promises (JSON, UTF-8, an object)."""

    code = "malformed_request"
    kind = Kind.INVALID

    reason: str

    @property
    def problem(self) -> str:
        """Say what could not be read."""
        return self.reason

    @property
    def remedy(self) -> str:
        """Say what is expected."""
        return "Send one JSON object, encoded as UTF-8"


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class RequestTooLarge(TmwsError):
    """A request body is over the limit."""

    code = "request_too_large"
    kind = Kind.TOO_LARGE

    limit: int

    @property
    def problem(self) -> str:
        """Name the limit in bytes."""
        return f"The request body is larger than {self.limit} bytes"

    @property
    def remedy(self) -> str:
        """Say how to stay below it."""
        return "Send fewer memories in one call"


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class TooManyValues(RequestTooLarge):
    """A request holds more values than the largest batch that is allowed; it was not parsed."""

    code = "too_many_values"

    @property
    def problem(self) -> str:
        """Name the limit in values."""
        return f"The request holds more than {self.limit} values"


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class UnknownOperation(TmwsError):
    """No operation has this name."""

    code = "unknown_operation"
    kind = Kind.NOT_FOUND

    name: str
    nearest: str | None = None

    @property
    def problem(self) -> str:
        """Name what was asked for."""
        return f"There is no operation named {self.name[:100]!r}"

    @property
    def remedy(self) -> str:
        """Name the nearest operation."""
        return f"Did you mean {self.nearest}?" if self.nearest else "List the tools to see the names"


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class RequestTimedOut(TmwsError):
    """The operation did not end within the request timeout; a write may or may not have been stored."""

    code = "timeout"
    kind = Kind.UNAVAILABLE

    seconds: float

    @property
    def problem(self) -> str:
        """Name the limit."""
        return f"The request did not finish within {self.seconds:g} seconds"

    @property
    def remedy(self) -> str:
        """Say what to do."""
        return "Try again, a write with the same idempotency_key, or raise TMWS_REQUEST_TIMEOUT"


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class VersionConflict(TmwsError):
    """The memory changed since the caller read it."""

    code = "conflict"
    kind = Kind.CONFLICT

    memory_id: str
    expected: int
    actual: int

    @property
    def problem(self) -> str:
        """Name both versions."""
        return f"Memory {self.memory_id} is at version {self.actual}, not {self.expected}"

    @property
    def remedy(self) -> str:
        """Say how to go on."""
        return "Read the memory again and repeat the change on its present version"

    @property
    def field(self) -> str | None:
        """Name the argument at fault."""
        return "expected_version"


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class KeyConflict(TmwsError):
    """An idempotency key was used for another memory, which can still be found."""

    code = "conflict"
    kind = Kind.CONFLICT

    memory_id: str
    differs: str
    name: str = "idempotency_key"

    @property
    def problem(self) -> str:
        """Name the memory, and in what the request differs from the one that stored it."""
        return f"{self.name}: was used for memory {self.memory_id}, whose {self.differs} is another one"

    @property
    def remedy(self) -> str:
        """Say how to go on."""
        return "Give each memory a key of its own, or change that one with update_memory"

    @property
    def field(self) -> str | None:
        """Name the argument at fault."""
        return self.name


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class KeyRepeated(TmwsError):
    """Two requests of one batch have the same idempotency key, and are not for the same memory."""

    code = "conflict"
    kind = Kind.CONFLICT

    other: str
    differs: str
    name: str

    @property
    def problem(self) -> str:
        """Name the request that has the key first, and in what this one differs; neither of them is stored."""
        return f"{self.name}: is that of {self.other} as well, whose {self.differs} is another one"

    @property
    def remedy(self) -> str:
        """Say how to go on."""
        return "Give each memory of the batch a key of its own"

    @property
    def field(self) -> str | None:
        """Name the argument at fault."""
        return self.name


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class MemoryNotFound(TmwsError):
    """No memory with this id exists for the caller, who may not learn whether it exists for anybody else."""

    code = "not_found"
    kind = Kind.NOT_FOUND

    memory_id: str
    name: str = "memory_id"

    @property
    def problem(self) -> str:
        """Name the id."""
        return f"There is no memory {self.memory_id}"

    @property
    def remedy(self) -> str:
        """Say how to find one."""
        return "Search or list memories for the ids that you can see"

    @property
    def field(self) -> str | None:
        """Name the argument at fault."""
        return self.name
