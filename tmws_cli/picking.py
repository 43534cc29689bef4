"""Which memory is meant: its id, the beginning of it, or `last`."""

import sys
from typing import Any

from tmws_adapters.local.finding import refusal
from tmws_cli.calling import call
from tmws_cli.options import Invocation
from tmws_cli.output import clipped

LAST = "last"
"""Stands for the newest memory of the agent in whose name the command works."""

QUOTED_COLUMNS = 60
"""Columns of a memory's text in a sentence."""

_ID_LENGTH = 36


def memory_id_of(invocation: Invocation, text: str, agent_id: str | None = None, *, changes: bool = True) -> str:
    """Return the whole id of the memory that is meant, among those that the operator, or this agent, may see.

    `last` is what that agent, or else that of the settings, has stored last; before a change of it stderr says what
    that is.

    Raises:
        Refused: there is none, or more than one begins so.
        TmwsError: see `call`.
    """
    if len(text) >= _ID_LENGTH:
        return text
    named = {} if agent_id is None else {"agent_id": agent_id}
    if text.lower() == LAST:
        owner = agent_id or invocation.agent_id()
        found: list[dict[str, Any]] = call(invocation, "list_memories", {"limit": 1, "agent_id": owner})["memories"]
        if not found:
            problem = f"There is no memory of {owner} yet. Store one with `tmws add`"
            raise refusal("not_found", problem, "not_found")
        if changes and not invocation.as_json:
            print(f'{LAST} of {owner}: "{clipped(found[0]["content"], QUOTED_COLUMNS)}"', file=sys.stderr)
        return str(found[0]["memory_id"])
    return str(call(invocation, "get_memory", {"memory_id": text, **named})["memory"]["memory_id"])
