"""Which memory is meant: its id, the beginning of it, or `last`."""

from typing import Any

from tmws_adapters.local.finding import refusal
from tmws_cli.calling import call
from tmws_cli.options import Invocation

LAST = "last"
"""Stands for the newest memory."""

_ID_LENGTH = 36


def memory_id_of(invocation: Invocation, text: str, agent_id: str | None = None) -> str:
    """Return the whole id of the memory that is meant, among those that the operator, or this agent, may see.

    Raises:
        Refused: there is none, or more than one begins so.
        TmwsError: see `call`.
    """
    if len(text) >= _ID_LENGTH:
        return text
    named = {} if agent_id is None else {"agent_id": agent_id}
    if text.lower() == LAST:
        found: list[dict[str, Any]] = call(invocation, "list_memories", {"limit": 1, **named})["memories"]
        if not found:
            raise refusal("not_found", "There is no memory yet. Store one with `tmws add`", "not_found")
        return str(found[0]["memory_id"])
    return str(call(invocation, "get_memory", {"memory_id": text, **named})["memory"]["memory_id"])
