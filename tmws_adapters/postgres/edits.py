"""What was edited or removed lately: triggers on memories_v2 write it down, and `kept` reads it."""

from tmws_adapters.postgres.connections import Connections

DAY = "1 day"
"""How long an edit is told of; processes that ask less often take everything for edited (TRUSTED in `kept`)."""


async def forget_edits(connections: Connections) -> None:
    """Remove what nobody asks for any more."""
    async with connections.unit() as unit:
        await unit.run(f"DELETE FROM memory_edits WHERE edited_at < clock_timestamp() - interval '{DAY}'")  # noqa: S608
