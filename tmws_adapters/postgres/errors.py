"""What PostgreSQL's errors mean to a caller of TMWS."""

import re

import attrs
import psycopg

from tmws_core.errors import (
    StorageBusy,
    StorageCorrupt,
    StorageFull,
    StorageInterrupted,
    StorageOutcomeUnknown,
    StorageReadOnly,
    StorageUnavailable,
)

PART = "postgresql"
"""The name of this part in `/health`."""


class ServerAway(StorageUnavailable):
    """No server takes the connection now, as it is while one restarts, or while another one takes its place."""


@attrs.frozen
class _Meaning:
    error: type[StorageUnavailable]
    reason: str
    hint: str


_URL = "Correct TMWS_DATABASE_URL"
_START = "Start the server, or correct the host and port in TMWS_DATABASE_URL"
_AGAIN = "Repeat it if it has an idempotency_key, which makes that harmless; else look whether it is stored"
_BUSY = "Try again; if it persists, look for long transactions in pg_stat_activity"
_SCHEMA = "Run `tmws db check` to see what differs, and restore the last backup"
_RESTORE = "Stop TMWS, look into the server's log, and restore the last backup"

_REFUSED = _Meaning(StorageUnavailable, "the server refused the user or its password", _URL)
_NO_DATABASE = _Meaning(
    StorageUnavailable, "the database does not exist", f"Create it with `createdb`, or {_URL[0].lower()}{_URL[1:]}"
)
_FULL_HOUSE = _Meaning(
    StorageBusy,
    "the server has no connection left",
    "Raise max_connections of the server, or lower TMWS_DB_POOL_SIZE and TMWS_DB_MAX_OVERFLOW",
)
_AWAY = _Meaning(
    StorageInterrupted, "the server shuts down, starts or recovers; nothing was changed", "Try again in a few seconds"
)
_REPLICA = _Meaning(
    ServerAway, "the server is a replica, which takes no changes", "Name the primary in TMWS_DATABASE_URL"
)
_DAMAGED = _Meaning(StorageCorrupt, "the database is damaged", _RESTORE)
_MISSING = _Meaning(StorageCorrupt, "a table or column of the schema is missing", _SCHEMA)
_NOT_ALLOWED = _Meaning(
    StorageReadOnly,
    "the user lacks a right in the database",
    "Let the user of TMWS_DATABASE_URL own the database: ALTER DATABASE … OWNER TO …",
)
_WAITED = _Meaning(StorageBusy, "another transaction holds what this one needs", _BUSY)

MEANINGS: dict[str, _Meaning] = {
    "25006": _Meaning(
        StorageReadOnly, "the server takes no changes", "Name the primary in TMWS_DATABASE_URL, not a replica"
    ),
    "28000": _REFUSED,
    "28P01": _REFUSED,
    "3D000": _NO_DATABASE,
    "40001": _WAITED,
    "40P01": _WAITED,
    "42501": _NOT_ALLOWED,
    "42703": _MISSING,
    "42P01": _MISSING,
    "53100": _Meaning(StorageFull, "no space is left for the database", "Free space on the server's disk"),
    "53200": _Meaning(StorageUnavailable, "the server ran out of memory", "Give the server more memory"),
    "53300": _FULL_HOUSE,
    "55P03": _WAITED,
    "57014": _Meaning(StorageBusy, "a statement took too long", _BUSY),
    "57P01": _AWAY,
    "57P02": _AWAY,
    "57P03": _AWAY,
    "57P05": _AWAY,
    "XX001": _DAMAGED,
    "XX002": _DAMAGED,
}
"""By SQLSTATE; every other one is a fault of the program or of the schema."""

_MALFORMED = _Meaning(
    StorageUnavailable, "the URL is malformed", "Write TMWS_DATABASE_URL as postgresql://user:password@host/database"
)
_OF_OTHERS = frozenset(
    {"pgbouncer", "schema", "connection_limit", "pool_timeout", "ssl", "charset", "prepared_statements", "supa"}
)
"""Parameters that URLs have for other drivers. Whatever else libpq calls one may be a part of a password."""

_LOST = _Meaning(
    StorageInterrupted, "the connection to the server was lost; nothing was changed", "Try again; see the server's log"
)
_TLS = "Set up TLS on the server, or set sslmode in TMWS_DATABASE_URL to what it offers"
_CALL_IT = "Name the host in TMWS_DATABASE_URL as its certificate does, or set sslmode=verify-ca"
_ROOT = "Name the file of its authority with sslrootcert in TMWS_DATABASE_URL"
_CLIENT = "Correct sslcert and sslkey in TMWS_DATABASE_URL"
_NEEDS_TLS = _Meaning(
    StorageUnavailable,
    "the server takes no connections without TLS, or none of this user from here",
    "Set sslmode=require or better in TMWS_DATABASE_URL, or add the user to pg_hba.conf",
)

CONNECTING: tuple[tuple[str, _Meaning], ...] = (
    ("password authentication failed", _REFUSED),
    ("no password supplied", _REFUSED),
    ("no encryption", _NEEDS_TLS),
    ("ssl required", _NEEDS_TLS),
    ("no pg_hba.conf entry", _REFUSED),
    ("role does not exist", _REFUSED),
    ("database does not exist", _NO_DATABASE),
    ("too many clients", _FULL_HOUSE),
    ("too many connections", _FULL_HOUSE),
    ("remaining connection slots", _FULL_HOUSE),
    ("starting up", _AWAY),
    ("shutting down", _AWAY),
    ("recovery mode", _AWAY),
    ("not accepting connections", _AWAY),
    ("hot standby", _REPLICA),
    ("session is read-only", _REPLICA),
    ("not match host name", _Meaning(StorageUnavailable, "the server's certificate is for another host", _CALL_IT)),
    ("root certificate file", _Meaning(StorageUnavailable, "the file of trusted certificates is missing", _ROOT)),
    ("certificate verify failed", _Meaning(StorageUnavailable, "the server's certificate cannot be verified", _ROOT)),
    ("certificate", _Meaning(StorageUnavailable, "the client's certificate or its key is of no use", _CLIENT)),
    ("does not support ssl", _Meaning(StorageUnavailable, "the server offers no TLS", _TLS)),
    ("ssl error", _Meaning(StorageUnavailable, "the encrypted connection failed", _TLS)),
    ("translate host name", _Meaning(StorageUnavailable, "the host is unknown", _URL)),
    ("resolve host", _Meaning(StorageUnavailable, "the host is unknown", _URL)),
    ("connection refused", _Meaning(ServerAway, "nobody listens at the host and port", _START)),
    ("invalid", _MALFORMED),
    ("timeout", _Meaning(ServerAway, "the host does not answer", _START)),
    ("unreachable", _Meaning(ServerAway, "there is no way to the host", _START)),
)
"""By what libpq says while connecting, where it gives no SQLSTATE, in small letters and without the names in quotation
marks; the first that fits counts."""

_NAME = re.compile(r""" "[^"]*"| '[^']*'""")

_OPEN = _Meaning(
    StorageOutcomeUnknown, "the connection was lost during the commit: the change may be stored or not", _AGAIN
)
_UNKNOWN = _Meaning(StorageUnavailable, "the server refused a statement", "Run `tmws doctor` and report what it says")


def storage_error(error: psycopg.Error, *, committing: bool = False) -> StorageUnavailable:
    """Return what an error of PostgreSQL means; its SQLSTATE is kept in the reason, its text is not.

    Texts can hold what was stored, and those of libpq the connection's parameters. A connection that is lost while it
    is `committing` leaves open whether the transaction is stored.
    """
    code = error.sqlstate
    if code is not None:
        meaning = MEANINGS.get(code) or (_LOST if code.startswith("08") else _UNKNOWN)
    else:
        meaning = _LOST if isinstance(error, psycopg.OperationalError) else _UNKNOWN
    if committing and meaning.error is StorageInterrupted:
        meaning = _OPEN
    return _stated(meaning, code or type(error).__name__)


def connection_error(error: psycopg.Error) -> StorageUnavailable:
    """Return why no connection was made: a ServerAway where another attempt may succeed in a moment."""
    text = _NAME.sub("", str(error).lower())
    if error.sqlstate is not None:
        found = storage_error(error)
    elif isinstance(error, psycopg.ProgrammingError):
        found = _malformed(error)
    else:
        meaning = next((meaning for part, meaning in CONNECTING if part in text), _LOST)
        found = _stated(meaning, type(error).__name__)
    if isinstance(found, StorageInterrupted):
        return ServerAway(part=PART, reason=found.reason, hint=found.hint)
    return found


def _malformed(error: psycopg.ProgrammingError) -> StorageUnavailable:
    _, quoted, rest = str(error).partition('invalid URI query parameter: "')
    name = rest.partition('"')[0]
    if not quoted:
        return _stated(_MALFORMED, type(error).__name__)
    of = f"parameter {name}" if name in _OF_OTHERS else "parameter of such a name"
    return StorageUnavailable(
        part=PART,
        reason=f"the URL is malformed: PostgreSQL knows no {of}",
        hint="Remove what stands behind the ? in TMWS_DATABASE_URL, or write it as libpq has it",
    )


def exhausted(limit: int, seconds: float) -> StorageBusy:
    """Return the error for a task that got none of this process's connections in time."""
    return StorageBusy(
        part=PART,
        reason=f"all {limit} connections of this kind were in use for {seconds:g} s",
        hint="Raise TMWS_DB_POOL_SIZE or TMWS_DB_MAX_OVERFLOW, or start another server",
    )


def crowded(agent_id: str, seconds: float) -> StorageBusy:
    """Return the error for a task whose agent has written without a pause meanwhile."""
    return StorageBusy(
        part=PART,
        reason=f"other writes of the agent {agent_id} took {seconds:g} s",
        hint="Send fewer at once, or many memories in one call",
    )


def _stated(meaning: _Meaning, name: str) -> StorageUnavailable:
    return meaning.error(part=PART, reason=f"{meaning.reason} ({name})", hint=meaning.hint)
