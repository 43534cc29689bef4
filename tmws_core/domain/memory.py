"""Memories: what is stored, what is searched by, and the limits of both."""

import enum
import hashlib
from datetime import datetime
from typing import Any

import attrs

from tmws_core.domain.constraints import Text

CONTENT_BYTES = 64 * 1024
LENT_BYTES = 2 * 1024
"""Bytes of the longest text whose words are lent to turns behind it, and which borrows those of turns before it: six
times a long turn of LoCoMo. Where most are longer (BEAM) lending makes recall by words worse, at 4 KB as well."""
METADATA_BYTES = 16 * 1024
TAGS = 32
SUCCESSORS = 1000
"""Memories that have replaced one another, one after the other, which are followed: a walk takes some 10 ms."""
REPLACED = 1000
"""Memories of one owner that a memory may be the successor of: when it is deleted each of them changes, in up to 1 ms
(16 KB)."""
BETWEEN = 100
"""Turns between those of the same owner that come back with such a deletion: each is indexed anew, in some 2 ms
unless it is long."""
KEYS = 32
"""Idempotency keys of a memory beside the one that it was stored with: 16 KB of 256 characters and an entry's rest."""

SHARES = 256
BATCH = 1000

CONTENT = Text(minimum=1, maximum_bytes=CONTENT_BYTES)
TAG = Text(minimum=1, maximum=64)
LABEL = Text(minimum=1, maximum=256)
"""Session ids, sources and idempotency keys."""


class MemoryType(enum.Enum):
    """What kind of knowledge a memory is."""

    EPISODIC = "episodic"
    SEMANTIC = "semantic"
    PROCEDURAL = "procedural"
    WORKING = "working"


class AccessLevel(enum.Enum):
    """Who besides the owner may read a memory."""

    PRIVATE = "private"
    TEAM = "team"
    SHARED = "shared"
    PUBLIC = "public"
    SYSTEM = "system"


class SharePermission(enum.Enum):
    """What an agent on a memory's list may do with it."""

    READ = "read"
    WRITE = "write"


@attrs.frozen
class Share:
    """One agent on a memory's list."""

    agent_id: str
    permission: SharePermission = SharePermission.READ


@attrs.frozen(kw_only=True)
class Memory:
    """One memory as it is now.

    `document` numbers this very text and its date: it is never reused, and where one of them changes there is a new
    number, so what is keyed by it (lexical entry, vector, caches) can go missing but never stale. `embedded` tells
    whether they have a vector of the store's active model. Times are aware and in UTC.
    """

    id: str
    document: int
    agent_id: str
    namespace: str
    content: str
    memory_type: MemoryType
    importance: float
    access_level: AccessLevel
    shared_with: tuple[Share, ...] = ()
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any]
    session_id: str | None = None
    sequence: int | None = None
    occurred_at: datetime | None = None
    expires_at: datetime | None = None
    source: str | None = None
    written_by: str
    transport: str
    created_at: datetime
    updated_at: datetime
    version: int = 1
    superseded_by: str | None = None
    superseded_at: datetime | None = None
    embedded: bool = False

    @property
    def embedded_by(self) -> tuple[str, datetime | None]:
        """What the vector stands for: the text and its date."""
        return self.content, self.occurred_at

    @property
    def is_turn(self) -> bool:
        """Whether it can lend its words to turns behind it, and borrow those of turns before it.

        What has been replaced does neither, and readers that are named one by one may differ.
        """
        placed = self.session_id is not None and self.sequence is not None
        return placed and self.access_level is not AccessLevel.SHARED and self.superseded_at is None

    @property
    def is_long(self) -> bool:
        """Whether, as a turn, it has words enough of its own, and keeps its place without lending or borrowing any."""
        return len(self.content.encode()) > LENT_BYTES

    @property
    def place(self) -> tuple[bool, AccessLevel, datetime | None, str | None, int | None]:
        """Where it stands among the turns of its owner, and of which of them."""
        return self.is_turn, self.access_level, self.expires_at, self.session_id, self.sequence


@attrs.frozen(kw_only=True)
class MemoryVersion:
    """A former text of a memory: `valid_from` is its first moment, `valid_to` that of the text which replaced it.

    `version` is the last one of the memory that had this text.
    """

    version: int
    content: str
    valid_from: datetime
    valid_to: datetime
    changed_by: str


@attrs.frozen(kw_only=True)
class MemoryFilter:
    """What a list or a search is narrowed to; None and empty mean: not narrowed.

    A time of `…_after` is inside, one of `…_before` is not, so that adjoining ranges share no memory.
    """

    namespace: str | None = None
    agent_id: str | None = None
    memory_type: MemoryType | None = None
    tags_any: tuple[str, ...] = ()
    tags_all: tuple[str, ...] = ()
    session_id: str | None = None
    occurred_after: datetime | None = None
    occurred_before: datetime | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    min_importance: float | None = None
    include_expired: bool = False
    include_superseded: bool = False


@attrs.frozen
class Uses:
    """How often a memory was read by its id, and when last."""

    count: int
    last: datetime


@attrs.frozen(kw_only=True)
class MemoryStats:
    """Counts over the memories that a caller may see."""

    total: int
    embedded: int
    by_type: dict[str, int]
    by_access_level: dict[str, int]
    by_namespace: dict[str, int]
    oldest: datetime | None
    newest: datetime | None


@attrs.frozen(kw_only=True)
class Identity:
    """What makes a memory the same as another one: the same text, said by the same agent, to the same, at one time."""

    agent_id: str
    namespace: str
    access_level: AccessLevel
    session_id: str | None
    sequence: int | None
    occurred_at: datetime | None
    content_hash: str


def identity_of(memory: Memory) -> Identity:
    """Return what makes a memory the same as another one."""
    return Identity(
        agent_id=memory.agent_id,
        namespace=memory.namespace,
        access_level=memory.access_level,
        session_id=memory.session_id,
        sequence=memory.sequence,
        occurred_at=memory.occurred_at,
        content_hash=content_hash(memory.content),
    )


def content_hash(content: str) -> str:
    """Return what tells texts apart, to the last space."""
    return hashlib.sha256(content.encode()).hexdigest()


def in_force(memory: Memory, at: datetime) -> bool:
    """Tell whether a memory is found without being asked for by its id: not superseded, and not expired."""
    return memory.superseded_at is None and (memory.expires_at is None or memory.expires_at > at)
