"""Every error that a caller can meet: a stable code, a kind, typed facts and, where there is one, the remedy."""

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


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class InvalidField(TmwsError):
    """An argument is missing, unknown, of the wrong type or out of its range."""

    code = "invalid_argument"
    kind = Kind.INVALID

    name: str
    reason: str
    hint: str = ""

    @property
    def problem(self) -> str:
        """Name the field and what is wrong with it."""
        return f"{self.name}: {self.reason}"

    @property
    def remedy(self) -> str:
        """Say which values are accepted."""
        return self.hint

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
class ConfigurationError(TmwsError):
    """A setting is unknown, malformed or cannot be honoured."""

    code = "configuration"
    kind = Kind.INVALID

    setting: str
    reason: str
    hint: str = ""

    @property
    def problem(self) -> str:
        """Name the setting."""
        return f"{self.setting}: {self.reason}"

    @property
    def remedy(self) -> str:
        """Say how to set it right."""
        return self.hint

    @property
    def field(self) -> str | None:
        """Name the setting."""
        return self.setting


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class PartUnavailable(TmwsError):
    """A part that TMWS is built on cannot do its work now; `part` is its name in `/health`."""

    code = "unavailable"
    kind = Kind.UNAVAILABLE

    part: str
    reason: str
    hint: str = ""

    @property
    def problem(self) -> str:
        """Name the part and the reason."""
        return f"{self.part}: {self.reason}"

    @property
    def remedy(self) -> str:
        """Say what to do."""
        return self.hint


class StorageUnavailable(PartUnavailable):
    """The database cannot be opened, read or written."""

    code = "storage_unavailable"


class StorageCorrupt(StorageUnavailable):
    """The database file is damaged, or is none."""

    code = "storage_corrupt"


class StorageFull(StorageUnavailable):
    """No space is left where the database lives; nothing of the change was stored."""

    code = "storage_full"


class StorageReadOnly(StorageUnavailable):
    """The database or its directory cannot be written by this user."""

    code = "storage_read_only"


class StorageBusy(StorageUnavailable):
    """Another process held the database's write lock for longer than the busy timeout."""

    code = "storage_busy"


class SchemaTooNew(StorageUnavailable):
    """The database was written by a newer version of TMWS."""

    code = "schema_too_new"


class EmbedderUnavailable(PartUnavailable):
    """The embedder cannot be reached or refused to work; memories are stored without a vector meanwhile."""

    code = "embedder_unavailable"


class ModelNotFound(EmbedderUnavailable):
    """The embedding model is not there: not pulled, not installed or damaged."""

    code = "model_not_found"


class EmbeddingRefused(EmbedderUnavailable):
    """The embedder works, but made no vector of this text; the memory is stored without one."""

    code = "embedding_refused"


class ModelReplaced(EmbedderUnavailable):
    """The store has changed to another embedding model since this process was started."""

    code = "model_replaced"


class ModelMismatch(PartUnavailable):
    """The store holds vectors of another model than the embedder's; they are never mixed."""

    code = "model_mismatch"


class IndexUnavailable(PartUnavailable):
    """The derived vector index cannot answer now; searches take the vectors in the store meanwhile."""

    code = "index_unavailable"


class MigrationRunning(PartUnavailable):
    """Another process is changing the embedding model of this store."""

    code = "migration_running"
    kind = Kind.CONFLICT


class NoFormerModel(PartUnavailable):
    """There is no former embedding model that the store could go back to."""

    code = "no_former_model"
    kind = Kind.CONFLICT
