"""What a store consists of, table by table, in a form that is the same in every store.

What a store derives from it by itself is not here: lexical entries, counts, belongings.
"""

import hashlib
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from enum import Enum, auto
from typing import Any, Protocol

import attrs

from tmws_adapters.sql.memories import Forms
from tmws_adapters.sql.times import native
from tmws_core.domain.memory import Memory

Row = tuple[Any, ...]
"""The values of a table's columns, in their order."""

Changes = list[tuple[int, Callable[[Any], Any]]]
"""Which values of a row have to be changed, by their place, and how."""


class Form(Enum):
    """What a value is; each store keeps it in its own way."""

    PLAIN = auto()
    """A text or a number."""
    FLAG = auto()
    """A bool."""
    TIME = auto()
    """A datetime in UTC."""
    STAMP = auto()
    """The same; SQLite keeps it as text."""
    BYTES = auto()
    VECTOR = auto()
    """The bytes of a Vector."""
    WORDS = auto()
    """A tuple of texts."""
    SHARES = auto()
    """Pairs of an agent and its permission, in order; they have a table of their own."""


@attrs.frozen
class Table:
    """A table by its columns; the first ones, `keys` in number, are its key, and sort alike in every store."""

    name: str
    keys: int
    columns: dict[str, Form]

    @property
    def key(self) -> tuple[str, ...]:
        """Return the names of the key's columns."""
        return tuple(self.columns)[: self.keys]

    def selected(self, shares: str) -> str:
        """Return what a query asks for; `shares` is what stands for the shares of a memory."""
        return ", ".join(shares if form is Form.SHARES else name for name, form in self.columns.items())

    def changed(self, forms: dict[Form, Callable[[Any], Any]]) -> Changes:
        """Return what has to be done to the rows that a store returns; None stays None."""
        return [(place, forms[form]) for place, form in enumerate(self.columns.values()) if form in forms]


def canonical(row: Row, changed: Changes) -> Row:
    """Return a row as it is the same in every store."""
    values = list(row)
    for place, form in changed:
        if values[place] is not None:
            values[place] = form(values[place])
    return tuple(values)


def _table(name: str, key: str, /, **columns: Form) -> Table:
    """Return a table; the words of `key` name the columns of the key, which are plain."""
    keys = key.split()
    return Table(name, len(keys), dict.fromkeys(keys, Form.PLAIN) | columns)


def _plain(names: str) -> dict[str, Form]:
    return dict.fromkeys(names.split(), Form.PLAIN)


AGENTS = _table(
    "agents",
    "id",
    **_plain("namespace role"),
    active=Form.FLAG,
    **_plain("display_name description capabilities metadata"),
    created_at=Form.STAMP,
    updated_at=Form.STAMP,
)

MODELS = _table(
    "embedding_models",
    "id",
    **_plain("name dimension digest edition"),
    active=Form.FLAG,
    **_plain("role canary_text"),
    canary_vector=Form.BYTES,
    **_plain("unrelated related"),
)

MEMORIES = _table(
    "memories_v2",
    "document",
    **_plain("id agent_id namespace content memory_type importance access_level"),
    tags=Form.WORDS,
    **_plain("metadata session_id sequence"),
    occurred_at=Form.TIME,
    expires_at=Form.TIME,
    **_plain("source written_by transport"),
    created_at=Form.TIME,
    updated_at=Form.TIME,
    **_plain("version superseded_by"),
    superseded_at=Form.TIME,
    model=Form.PLAIN,
    memory_shares=Form.SHARES,
    content_hash=Form.PLAIN,
)
"""But for the first two and the last, in the order in which `Forms.memory` takes them."""

HISTORY = _table(
    "memory_history",
    "memory_id version",
    content=Form.PLAIN,
    valid_from=Form.TIME,
    valid_to=Form.TIME,
    changed_by=Form.PLAIN,
)

USES = _table("memory_uses", "memory_id", uses=Form.PLAIN, used_at=Form.TIME)

EMBEDDINGS = _table("embeddings", "model document", vector=Form.VECTOR)
"""Of the active model, of the next and of the former one."""

IDEMPOTENCY_KEYS = _table("idempotency_keys", "agent_id key", **_plain("memory_id request_hash"), duplicate=Form.FLAG)

API_KEYS = _table(
    "api_keys",
    "id",
    agent_id=Form.PLAIN,
    digest=Form.BYTES,
    name=Form.PLAIN,
    created_at=Form.STAMP,
    expires_at=Form.STAMP,
    revoked_at=Form.STAMP,
    last_used_at=Form.STAMP,
)

REVOKED_TOKENS = _table("revoked_tokens", "id", expires_at=Form.STAMP)

LICENSE_CLOCK = _table("license_clock", "id", last_seen=Form.STAMP)

AUDIT = _table(
    "security_audit_logs",
    "id",
    **_plain("timestamp event_type agent_id details"),
    hash=Form.BYTES,
)

CHECKPOINTS = _table(
    "audit_checkpoints",
    "last",
    hash=Form.BYTES,
    created_at=Form.PLAIN,
    pruned=Form.FLAG,
    public_key=Form.BYTES,
    signature=Form.BYTES,
)

AUDIT_HEAD = _table("audit_head", "id", last=Form.PLAIN, hash=Form.BYTES)

TABLES = (
    AGENTS,
    MODELS,
    MEMORIES,
    HISTORY,
    USES,
    EMBEDDINGS,
    IDEMPOTENCY_KEYS,
    API_KEYS,
    REVOKED_TOKENS,
    LICENSE_CLOCK,
    AUDIT,
    CHECKPOINTS,
    AUDIT_HEAD,
)
"""All of them; what others refer to comes first."""

_FORMS = Forms(time=native, items=tuple)


def memory_of(row: Row) -> Memory:
    """Return the memory of a row of MEMORIES."""
    document, memory_id, *others, _ = row
    return _FORMS.memory((memory_id, document, *others))


def roles_changed(gone: Sequence[Row], new: Sequence[Row]) -> bool:
    """Tell whether rows of MODELS say otherwise than the former ones which model is active, next or the former one."""
    active, role = map(tuple(MODELS.columns).index, ("active", "role"))
    former, present = ({(row[0], row[active], row[role]) for row in rows} for rows in (gone, new))
    return not former <= present


@attrs.define
class Sum:
    """How many rows a table has, and the hash of all of them in the order of their keys."""

    rows: int = 0
    _hash: Any = attrs.field(factory=lambda: hashlib.blake2b(digest_size=16), eq=False)

    def add(self, rows: Iterable[Row]) -> None:
        """Add the next rows."""
        for row in rows:
            self.rows += 1
            # The hexadecimal digits of a vector take a tenth of the time of its `repr`.
            plain = [value.hex() if value.__class__ is bytes else value for value in row]
            self._hash.update(repr(plain).encode("utf-8", "surrogatepass"))

    @property
    def digest(self) -> str:
        """Return the hash in hexadecimal."""
        return str(self._hash.hexdigest())


@attrs.frozen(kw_only=True)
class Standing:
    """How far a store has come: its last document number, how often memories changed, and its last audited event."""

    document: int
    changes: int
    audited: int


@attrs.frozen
class Origin:
    """Where a store was moved from, as its own table `moved_from` says; `seal` is its state when that was complete."""

    source: str
    seal: str | None


class Snapshot(Protocol):
    """All tables as of one moment."""

    def rows(self, table: Table) -> AsyncGenerator[list[Row], None]:
        """Yield the rows of a table in the order of their keys, some hundred at a time."""
        ...

    async def count(self, table: Table) -> int:
        """Count the rows of a table."""
        ...

    async def months(self) -> list[datetime]:
        """Return the beginnings of the months in which memories were stored."""
        ...

    async def standing(self) -> Standing:
        """Tell how far the store has come."""
        ...


class Tables(Protocol):
    """The tables of an open store."""

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """Begin to read; one at a time."""
        ...

    async def prepare(self, months: Sequence[datetime]) -> None:
        """Make room for memories of these months, given by their beginnings."""
        ...

    async def apply(self, table: Table, gone: Sequence[Row], new: Sequence[Row]) -> None:
        """Put rows in the place of others in one transaction; both may hold rows of one key."""
        ...

    async def finish(self, document: int) -> None:
        """Give no document a number up to this one again, and build the indexes that are missing."""
        ...

    async def origin(self) -> Origin | None:
        """Tell where the store was moved from, or None."""
        ...

    async def keep_origin(self, origin: Origin) -> None:
        """Remember where the store is moved from; until that is complete nothing else opens it."""
        ...
