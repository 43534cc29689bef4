"""What an import would bring: the source is read to its end, and nothing is stored."""

from collections.abc import Callable

import attrs

from tmws_cli.transfer.claims import Claims
from tmws_cli.transfer.importing import Source, Tally
from tmws_cli.transfer.records import Record, Refusal, Skip
from tmws_core.messages.memory import CreateMemory

EXAMPLES = 10
"""Memories that are shown, the first ones."""


@attrs.define
class Preview:
    """The memories that would come, with some of them; what is refused or passed over is in the tally."""

    memories: int = 0
    examples: list[CreateMemory] = attrs.field(factory=list)
    tally: Tally = attrs.field(factory=Tally)


def preview(
    source: Source, claims: Claims, on_refusal: Callable[[Refusal], None], report: Callable[[int, int], None]
) -> Preview:
    """Read a source; how much of it would be there already, only the import itself tells."""
    found = Preview()
    for item in map(claims.settle, source):
        match item:
            case Record():
                found.memories += 1
                if len(found.examples) < EXAMPLES:
                    found.examples.append(item.request)
                report(source.position, found.memories)
            case Refusal():
                found.tally.refuse(item)
                on_refusal(item)
            case Skip():
                found.tally.skip(item)
            case _:  # former texts of the memory before
                pass
    return found
