"""Requests and answers about memories."""

from datetime import datetime
from typing import Any

import attrs

from tmws_core.domain.agent import AGENT_ID
from tmws_core.domain.constraints import UUID_PATTERN, UUID_START_PATTERN, Aware, Items, JsonObject, Range, Text
from tmws_core.domain.memory import (
    BATCH,
    CONTENT,
    CONTENT_BYTES,
    LABEL,
    METADATA_BYTES,
    SHARES,
    TAG,
    TAGS,
    AccessLevel,
    MemoryFilter,
    MemoryType,
    SharePermission,
)
from tmws_core.domain.namespace import NAMESPACE
from tmws_core.domain.unset import UNSET, Unset
from tmws_core.operation import Request

MEMORY_ID = Text(minimum=1, maximum=36, pattern=UUID_PATTERN, expected="a memory id (a UUID in lower case)")
MEMORY_ID_START = Text(
    minimum=1,
    maximum=36,
    pattern=UUID_START_PATTERN,
    expected="a memory id (a UUID in lower case), or its first 8 digits and more",
)
CURSOR = Text(minimum=1, maximum=512)
PAGE = 100
"""The longest page of a list or a search."""

ROOM = 3000
"""Bytes of text in the answer to a list or a search: with what else is told of ten memories, an answer over MCP, which
has it as JSON and as readable text, stays below 10 KB, and what a model reads of it below 2,000 tokens."""

RANGE = 8000
"""Bytes of one memory's text that are read at once: 2,000 tokens."""

ALL = PAGE * CONTENT_BYTES
"""Bytes of the texts of a page, each as long as one may be: with so much room all are whole."""

MOST = Range(1, ALL)
"""How much text may be asked for."""

_ITEM_TAGS = Items(maximum=TAGS, each=TAG)
_FRACTION = Range(0, 1)
_OTHERWISE = {"otherwise": "Other words are for tags or metadata"}
_SPANS = {"otherwise": 'A span such as "30d" or "3600 seconds" will do'}


@attrs.frozen(kw_only=True)
class MemoryCreated:
    """The memory is stored, durably. `duplicate_of` names the memory that held this very text already.

    What the request said beside the text was said of that one, too, or is in it now: `merged` names the fields that
    were put together. With `stored` false, an earlier call had stored it; `expired` says that no search finds it now.
    """

    success: bool = True
    memory_id: str
    stored: bool = True
    embedding_generated: bool
    embedding_latency_ms: float
    duplicate_of: str | None = None
    merged: tuple[str, ...] | None = None
    expired: bool | None = None


@attrs.frozen(kw_only=True)
class CreateMemory(Request[MemoryCreated]):
    """One memory to be stored."""

    content: str = attrs.field(validator=CONTENT)
    agent_id: str | None = attrs.field(default=None, validator=AGENT_ID)
    namespace: str | None = attrs.field(default=None, validator=NAMESPACE)
    memory_type: MemoryType | None = attrs.field(default=None, metadata={"unsaid": MemoryType.EPISODIC, **_OTHERWISE})
    importance: float | None = attrs.field(default=None, validator=_FRACTION, metadata={"unsaid": 0.5})
    access_level: AccessLevel = AccessLevel.PRIVATE
    shared_with: tuple[str, ...] = attrs.field(default=(), validator=Items(maximum=SHARES, each=AGENT_ID))
    tags: tuple[str, ...] = attrs.field(default=(), validator=_ITEM_TAGS)
    metadata: dict[str, Any] = attrs.field(factory=dict, validator=JsonObject(METADATA_BYTES))
    session_id: str | None = attrs.field(default=None, validator=LABEL)
    sequence: int | None = attrs.field(default=None, validator=Range(0, 2**53))
    occurred_at: datetime | None = attrs.field(default=None, validator=Aware())
    expires_at: datetime | None = attrs.field(default=None, validator=Aware(), metadata=_SPANS)
    source: str | None = attrs.field(default=None, validator=LABEL)
    idempotency_key: str | None = attrs.field(default=None, validator=LABEL)


@attrs.frozen(kw_only=True)
class MemoriesCreated:
    """All memories are stored; the results are in the order of the request."""

    success: bool = True
    results: tuple[MemoryCreated, ...]


@attrs.frozen(kw_only=True)
class CreateMemories(Request[MemoriesCreated]):
    """Memories to be stored together: all of them or none."""

    memories: tuple[CreateMemory, ...] = attrs.field(validator=Items(minimum=1, maximum=BATCH))


@attrs.frozen(kw_only=True)
class ShareView:
    """An agent on a memory's list."""

    agent_id: str
    permission: SharePermission


@attrs.frozen(kw_only=True)
class MemoryView:
    """A memory as its readers see it; what is empty is left out. `shared_with` is shown to who may change it."""

    memory_id: str
    content: str
    metadata: dict[str, Any]
    agent_id: str
    namespace: str
    memory_type: MemoryType
    importance: float
    access_level: AccessLevel
    tags: tuple[str, ...]
    shared_with: tuple[ShareView, ...] | None
    session_id: str | None
    sequence: int | None
    occurred_at: datetime | None
    expires_at: datetime | None
    source: str | None
    written_by: str
    transport: str
    created_at: datetime
    updated_at: datetime
    version: int
    superseded_by: str | None
    embedded: bool


@attrs.frozen(kw_only=True)
class MemoryBrief:
    """A memory in a list, or among hits: what it says, when, and under which tags; the rest only with `details`.

    Where `truncated`, `content` is an excerpt of a text of `length` characters, which begins with the character
    `offset`, counted from 0. `agent_id` is told of another agent's, `namespace` where it is neither the caller's
    nor the one that was asked for. Of many tags some are left out: `more_tags` counts them.
    """

    memory_id: str
    content: str
    truncated: bool | None = None
    length: int | None = None
    offset: int | None = None
    tags: tuple[str, ...]
    more_tags: int | None = None
    agent_id: str | None = None
    occurred_at: datetime | None = None
    expires_at: datetime | None = None
    created_at: datetime
    superseded_by: str | None = None
    metadata: dict[str, Any] | None = None
    namespace: str | None = None
    memory_type: MemoryType | None = None
    importance: float | None = None
    access_level: AccessLevel | None = None
    shared_with: tuple[ShareView, ...] | None = None
    session_id: str | None = None
    sequence: int | None = None
    source: str | None = None
    written_by: str | None = None
    transport: str | None = None
    updated_at: datetime | None = None
    version: int | None = None
    embedded: bool | None = None


@attrs.frozen(kw_only=True)
class FormerText:
    """A former text of a memory; one of `length` characters that is too long for an answer is cut."""

    version: int
    content: str
    length: int | None = None
    valid_from: datetime
    valid_to: datetime
    changed_by: str


@attrs.frozen(kw_only=True)
class MemoryFound:
    """One memory, with a page of its former texts if they were asked for; `next_cursor` is there while more follow.

    Where the text is too long for the answer, its `content` is the range that begins with the character `offset`, of
    `length` in all; `next_offset` is there while more follows.
    """

    success: bool = True
    memory: MemoryView
    length: int | None = None
    offset: int | None = None
    next_offset: int | None = None
    history: tuple[FormerText, ...] | None = None
    history_total: int | None = None
    next_cursor: str | None = None


@attrs.frozen(kw_only=True)
class GetMemory(Request[MemoryFound]):
    """Which memory to read, from which character on, and which page of its former texts.

    `cursor` and `oldest_first` are about those; `max_chars` bounds the text, and all of those together.
    """

    memory_id: str = attrs.field(validator=MEMORY_ID_START)
    offset: int = attrs.field(default=0, validator=Range(0, CONTENT_BYTES))
    max_chars: int = attrs.field(default=RANGE, validator=MOST)
    include_history: bool = False
    cursor: str | None = attrs.field(default=None, validator=CURSOR)
    oldest_first: bool = False
    agent_id: str | None = attrs.field(default=None, validator=AGENT_ID)


@attrs.frozen(kw_only=True)
class Filters:
    """What lists and searches can be narrowed to."""

    namespace: str | None = attrs.field(default=None, validator=NAMESPACE)
    agent_id: str | None = attrs.field(default=None, validator=AGENT_ID)
    memory_type: MemoryType | None = attrs.field(default=None, metadata=_OTHERWISE)
    tags_any: tuple[str, ...] = attrs.field(default=(), validator=_ITEM_TAGS)
    tags_all: tuple[str, ...] = attrs.field(default=(), validator=_ITEM_TAGS)
    session_id: str | None = attrs.field(default=None, validator=LABEL)
    occurred_after: datetime | None = attrs.field(default=None, validator=Aware())
    occurred_before: datetime | None = attrs.field(default=None, validator=Aware())
    created_after: datetime | None = attrs.field(default=None, validator=Aware())
    created_before: datetime | None = attrs.field(default=None, validator=Aware())
    min_importance: float | None = attrs.field(default=None, validator=_FRACTION)
    include_expired: bool = False

    def as_filter(self, *, include_superseded: bool = False) -> MemoryFilter:
        """Return the domain's filter."""
        names = [field.name for field in attrs.fields(Filters)]
        return MemoryFilter(**{name: getattr(self, name) for name in names}, include_superseded=include_superseded)


@attrs.frozen(kw_only=True)
class MemoryPage:
    """A page of memories; `next_cursor` is there while more follow."""

    success: bool = True
    memories: tuple[MemoryBrief, ...]
    next_cursor: str | None = None


@attrs.frozen(kw_only=True)
class ListMemories(Filters, Request[MemoryPage]):
    """Which memories to list."""

    limit: int = attrs.field(default=20, validator=Range(1, PAGE))
    cursor: str | None = attrs.field(default=None, validator=CURSOR)
    include_superseded: bool = False
    oldest_first: bool = False
    max_chars: int = attrs.field(default=ROOM, validator=MOST)
    details: bool = False


@attrs.frozen(kw_only=True)
class MemoryUpdated:
    """The change is stored, durably."""

    success: bool = True
    memory_id: str
    version: int
    embedding_generated: bool


@attrs.frozen(kw_only=True)
class UpdateMemory(Request[MemoryUpdated]):
    """What to change; what is left out stays. With `expected_version`, a memory that changed since is a conflict.

    Fields whose type has Unset are cleared by None; of the others, which every memory has, None changes nothing.
    """

    memory_id: str = attrs.field(validator=MEMORY_ID)
    expected_version: int | None = attrs.field(default=None, validator=Range(1))
    content: str | None = attrs.field(default=None, validator=CONTENT)
    memory_type: MemoryType | None = attrs.field(default=None, metadata=_OTHERWISE)
    importance: float | None = attrs.field(default=None, validator=_FRACTION)
    access_level: AccessLevel | None = None
    tags: tuple[str, ...] | None = attrs.field(default=None, validator=_ITEM_TAGS)
    metadata: dict[str, Any] | None = attrs.field(default=None, validator=JsonObject(METADATA_BYTES))
    session_id: str | Unset | None = attrs.field(default=UNSET, validator=LABEL)
    sequence: int | Unset | None = attrs.field(default=UNSET, validator=Range(0, 2**53))
    occurred_at: datetime | Unset | None = attrs.field(default=UNSET, validator=Aware())
    expires_at: datetime | Unset | None = attrs.field(default=UNSET, validator=Aware(), metadata=_SPANS)
    source: str | Unset | None = attrs.field(default=UNSET, validator=LABEL)
    superseded_by: str | Unset | None = attrs.field(default=UNSET, validator=MEMORY_ID)
    agent_id: str | None = attrs.field(default=None, validator=AGENT_ID)

    @property
    def says_anew(self) -> bool:
        """Whether the text or its date may change, which the indexes go by."""
        return self.content is not None or self.occurred_at is not UNSET

    def given(self) -> dict[str, Any]:
        """Return what is to change, by field."""
        addressing = {"memory_id", "expected_version", "agent_id"}
        fields = {field.name: field.default for field in attrs.fields(type(self)) if field.name not in addressing}
        return {name: getattr(self, name) for name, default in fields.items() if getattr(self, name) is not default}


@attrs.frozen(kw_only=True)
class MemoryDeleted:
    """The memory is gone, with its history."""

    success: bool = True
    memory_id: str


@attrs.frozen(kw_only=True)
class DeleteMemory(Request[MemoryDeleted]):
    """Which memory to delete."""

    memory_id: str = attrs.field(validator=MEMORY_ID)
    agent_id: str | None = attrs.field(default=None, validator=AGENT_ID)


@attrs.frozen(kw_only=True)
class MemoryShared:
    """Who is on the memory's list now."""

    success: bool = True
    memory_id: str
    access_level: AccessLevel
    shared_with: tuple[ShareView, ...]


@attrs.frozen(kw_only=True)
class ShareMemory(Request[MemoryShared]):
    """Whom to put on a memory's list, or with `revoke` take from it."""

    memory_id: str = attrs.field(validator=MEMORY_ID)
    shared_with: tuple[str, ...] = attrs.field(validator=Items(minimum=1, maximum=SHARES, each=AGENT_ID))
    permission: SharePermission = SharePermission.READ
    revoke: bool = False
    agent_id: str | None = attrs.field(default=None, validator=AGENT_ID)


@attrs.frozen(kw_only=True)
class MemoryCounts:
    """Counts over the memories that the caller may see."""

    success: bool = True
    total: int
    embedded: int
    by_type: dict[str, int]
    by_access_level: dict[str, int]
    by_namespace: dict[str, int]
    oldest: datetime | None
    newest: datetime | None


@attrs.frozen(kw_only=True)
class GetMemoryStats(Request[MemoryCounts]):
    """Whose view to count: the caller's, unless it may act for others."""

    agent_id: str | None = attrs.field(default=None, validator=AGENT_ID)
