"""Makes what the contracts store."""

import math
import struct
from array import array
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from tmws_core.domain.access import Scope, Visibility
from tmws_core.domain.embedding import EmbeddingModel, Vector
from tmws_core.domain.ids import uuid7
from tmws_core.domain.memory import AccessLevel, Memory, MemoryFilter, MemoryType, content_hash, identity_of
from tmws_core.domain.text import Lexical, lexical_document
from tmws_core.ports.storage import Fingerprint, NewMemory, Searchable, UsedKey

DAY = datetime(2026, 1, 31, tzinfo=UTC)
"""When the memories of the tests are written."""

NOON = DAY + timedelta(hours=12)
"""When they are read."""

MODEL = EmbeddingModel(name="tests/four", dimension=4, digest="d1")

EVERYTHING = Visibility("nobody", "nowhere", everything=True)

_numbers: Iterator[int] = count(1)


def memory(**changes: Any) -> Memory:
    """Return a memory with a fresh id, newer than all before it."""
    number = next(_numbers)
    fields: dict[str, Any] = {
        "id": uuid7(1_700_000_000_000 + number, number),
        "document": 0,
        "agent_id": "ada",
        "namespace": "acme",
        "content": f"Memory number {number}",
        "memory_type": MemoryType.SEMANTIC,
        "importance": 0.5,
        "access_level": AccessLevel.PRIVATE,
        "metadata": {},
        "written_by": "ada",
        "transport": "python",
        "created_at": DAY,
        "updated_at": DAY,
    }
    return Memory(**(fields | changes))


def new(stored: Memory, *, vector: Vector | None = None) -> NewMemory:
    """Return what stores a memory."""
    return NewMemory(
        memory=stored,
        content_hash=content_hash(stored.content),
        lexical=Lexical(lexical_document(stored.content)),
        vector=vector,
    )


def fingerprint(stored: Memory, key: str | None = None) -> Fingerprint:
    """Return what makes a memory a repetition."""
    return Fingerprint(identity=identity_of(stored), idempotency_key=key, at=NOON)


def used_key(stored: Memory, key: str, request_hash: str | None = "h") -> UsedKey:
    """Return a key that a memory was stored with."""
    return UsedKey(agent_id=stored.agent_id, key=key, memory_id=stored.id, request_hash=request_hash)


def vector(*values: float) -> Vector:
    """Return the vector of that direction, of norm 1."""
    norm = math.hypot(*values)
    return Vector(struct.pack(f"<{len(values)}f", *(value / norm for value in values)))


def searchable(documents: "array[int]") -> Searchable:
    """Return what lets an index find these documents."""
    return Searchable(scope=scope(), model=MODEL, documents=documents)


def scope(visibility: Visibility = EVERYTHING, *, at: datetime = NOON, **filters: Any) -> Scope:
    """Return a scope."""
    return Scope(visibility=visibility, filter=MemoryFilter(**filters), at=at)
