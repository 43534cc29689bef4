"""Audit events: what happened, to what, by whom; never the content itself."""

from datetime import datetime

import attrs


@attrs.frozen(kw_only=True)
class AuditEvent:
    """One line of the audit log; `details` holds ids, names and numbers only."""

    timestamp: datetime
    event_type: str
    agent_id: str
    details: dict[str, str | int | float | bool]
