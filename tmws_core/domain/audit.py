"""Audit events: what happened, to what, by whom; never the content itself, and never a secret."""

from datetime import datetime

import attrs

Detail = str | int | float | bool


@attrs.frozen(kw_only=True)
class AuditEvent:
    """One line of the audit log; `details` holds ids, names and numbers only."""

    timestamp: datetime
    event_type: str
    agent_id: str
    details: dict[str, Detail]


@attrs.frozen(kw_only=True)
class AuditRecord:
    """An event as it stands in the log; `hash` chains it to all that stand before it."""

    id: int
    timestamp: datetime
    event_type: str
    agent_id: str
    details: dict[str, Detail]
    hash: bytes
