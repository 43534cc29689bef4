"""What can be wrong with the settings, and with the parts that TMWS is built on."""

import attrs

from tmws_core.errors.base import Kind, TmwsError


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


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class AppClosed(PartUnavailable):
    """The application is called after the block that has opened it; nothing was done."""

    code = "closed"

    part: str = "app"
    reason: str = "is closed"
    hint: str = "Call it inside the block that opens it"


@attrs.frozen(slots=False, kw_only=True, eq=False, str=False)
class IssuerUnavailable(PartUnavailable):
    """The issuer of a token cannot be asked for its keys, so that nobody can tell whether the token is good."""

    code = "issuer_unavailable"

    part: str = "oauth"
    hint: str = "Try again in a few seconds"
    retry_after: float = 1.0


class StorageUnavailable(PartUnavailable):
    """The database cannot be opened, read or written."""

    code = "storage_unavailable"


class StorageCorrupt(StorageUnavailable):
    """The database file is damaged, or is none."""

    code = "storage_corrupt"


class StorageFull(StorageUnavailable):
    """No space is left where the database lives; nothing of the change was stored."""

    code = "storage_full"


class StorageGone(StorageUnavailable):
    """The file of the open database was deleted, moved or replaced; reading goes on, and nothing can be stored."""

    code = "storage_gone"


class StorageReadOnly(StorageUnavailable):
    """The database or its directory cannot be written by this user."""

    code = "storage_read_only"


class StorageBusy(StorageUnavailable):
    """Another process held the database's write lock for longer than the busy timeout."""

    code = "storage_busy"


class StorageInterrupted(StorageUnavailable):
    """The connection to the database was lost before the end of a change, of which nothing was stored."""

    code = "storage_interrupted"


class StorageOutcomeUnknown(StorageUnavailable):
    """The connection to the database was lost, or closed, while a change was being stored: it may be stored or not."""

    code = "outcome_unknown"


class SchemaTooNew(StorageUnavailable):
    """The database was written by a newer version of TMWS."""

    code = "schema_too_new"


class SchemaDirty(StorageUnavailable):
    """The schema of the database is not what its revision says: it was changed by hand, or is somebody else's."""

    code = "schema_dirty"


class NoFormerSchema(PartUnavailable):
    """There is no former schema that the database could go back to."""

    code = "no_former_schema"
    kind = Kind.CONFLICT


class MoveUnfinished(StorageUnavailable):
    """The database does not hold yet all that is moved to it."""

    code = "move_unfinished"


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
    """The store or the embedder has changed to another model since this process was started."""

    code = "model_replaced"


class ModelMismatch(PartUnavailable):
    """The store holds vectors of another model than the embedder's; they are never mixed."""

    code = "model_mismatch"


class IndexUnavailable(PartUnavailable):
    """The derived vector index cannot answer now; searches take the vectors in the store meanwhile."""

    code = "index_unavailable"


class IndexLoading(IndexUnavailable):
    """The derived vector index is being opened; it answers in a moment."""

    code = "index_loading"


class MigrationRunning(PartUnavailable):
    """Another process is changing the embedding model of this store."""

    code = "migration_running"
    kind = Kind.CONFLICT


class NoFormerModel(PartUnavailable):
    """There is no former embedding model that the store could go back to."""

    code = "no_former_model"
    kind = Kind.CONFLICT


class LicenseInvalid(ConfigurationError):
    """The licence key does not hold: its format, checksum, signature, term or tier."""

    code = "license_invalid"


class AuditBroken(PartUnavailable):
    """The audit log is not what was written."""

    code = "audit_broken"
    kind = Kind.CONFLICT


class AuditUnproven(PartUnavailable):
    """Nothing proves that the audit log is what was written, so it is neither signed nor pruned."""

    code = "audit_unproven"
    kind = Kind.CONFLICT
