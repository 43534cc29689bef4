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
    """Change the text of a memory in $VISUAL or $EDITOR; `last` is your newest memory.

    Nothing is stored where the text stays as it was, or where nothing is left of it.
    """
    invocation = invocation_of(context)
    wanted = memory_id_of(invocation, memory_id)
    memory = _whole(invocation, wanted)
    before = memory["content"]
    after = _edited(before)
    answer = {"success": True, "memory_id": memory["memory_id"], "changed": False, "version": memory["version"]}
    if after is not None and after.strip() and after != before:
        change = {"memory_id": memory["memory_id"], "content": after, "expected_version": memory["version"]}
        try:
            answer |= {"changed": True, "version": call(invocation, "update_memory", change)["version"]}
        except Exception:
            _keep(after.encode())
            raise
    if invocation.as_json:
        print(json.dumps(answer))
    elif answer["changed"]:
        print(f"Changed {memory['memory_id']}, version {answer['version']}")
    else:
        print("Nothing was changed")


def _edited(text: str) -> str | None:
    """Return a text as the editor leaves it, byte for byte but for the line break that it ends with there, or None.

    Raises:
        Refused: it is no UTF-8 any more, and is kept.
    """
    end = "\r\n" if "\r\n" in text else "\n"
    raw = click.edit(
        f"{text}{end}".encode(), extension=".md"
    )  # of a str, click changes line breaks and a mark of UTF-8
    if raw is None:
        return None
    try:
        return raw.decode().removesuffix("\n").removesuffix(end.removesuffix("\n"))
    except UnicodeDecodeError:
        _keep(raw)
        raise refusal("invalid", "What the editor saved is no UTF-8", "invalid") from None


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


def _keep(text: bytes) -> None:
    """Write a text that could not be stored to a file of its own, and say which."""
    descriptor, name = tempfile.mkstemp(prefix="tmws-edit-", suffix=".md")
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
    click.echo(f"The text that you wrote is in {name}", err=True)
