"""The command `tmws edit`: changing the text of a memory in an editor."""

import json
import os
import tempfile
from typing import Any

import click

from tmws_adapters.local.finding import refusal
from tmws_cli.calling import call
from tmws_cli.options import Invocation, invocation_of
from tmws_cli.picking import memory_id_of


@click.command("edit")
@click.argument("memory_id", metavar="MEMORY_ID")
@click.pass_context
def edit(context: click.Context, memory_id: str) -> None:
    """Change the text of a memory in $VISUAL or $EDITOR; `last` is the newest memory.

    Nothing is stored where the text stays as it was, or where nothing is left of it.
    """
    invocation = invocation_of(context)
    wanted = memory_id_of(invocation, memory_id)
    memory = _whole(invocation, wanted)
    before = memory["content"]
    after = click.edit(f"{before}\n", extension=".md")
    after = None if after is None else after.removesuffix("\n")
    answer = {"success": True, "memory_id": memory["memory_id"], "changed": False, "version": memory["version"]}
    if after is not None and after.strip() and after != before:
        change = {"memory_id": memory["memory_id"], "content": after, "expected_version": memory["version"]}
        try:
            answer |= {"changed": True, "version": call(invocation, "update_memory", change)["version"]}
        except Exception:
            click.echo(f"The text that you wrote is in {_kept(after)}", err=True)
            raise
    if invocation.as_json:
        print(json.dumps(answer))
    elif answer["changed"]:
        print(f"Changed {memory['memory_id']}, version {answer['version']}")
    else:
        print("Nothing was changed")


def _whole(invocation: Invocation, memory_id: str) -> dict[str, Any]:
    """Return a memory with all of its text, which comes in ranges where it is long.

    Raises:
        Refused: it was changed between two of them.
    """
    answer = call(invocation, "get_memory", {"memory_id": memory_id})
    memory: dict[str, Any] = answer["memory"]
    while answer.get("next_offset") is not None:
        answer = call(invocation, "get_memory", {"memory_id": memory_id, "offset": answer["next_offset"]})
        if answer["memory"]["version"] != memory["version"]:
            raise refusal("conflict", "The memory was changed while it was read. Try again", "conflict")
        memory["content"] += answer["memory"]["content"]
    return memory


def _kept(text: str) -> str:
    """Write a text that could not be stored to a file of its own, and return its name."""
    descriptor, name = tempfile.mkstemp(prefix="tmws-edit-", suffix=".md")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return name
