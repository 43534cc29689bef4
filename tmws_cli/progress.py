"""How far a long command is: a bar on a terminal, a line now and then elsewhere, always on stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

LINE_EVERY = 1000
"""Memories, or rows, between two lines where stderr is no terminal."""

Report = Callable[[int, int], None]
"""Takes the position on the way to the total, and how many memories, or rows, that makes."""


@contextmanager
def progress(label: str, total: int | None, what: str = "memories") -> Iterator[Report]:
    """Show the progress of the block, which reports it; `total` is None where nobody knows it."""
    if sys.stderr.isatty() and total is not None:
        with click.progressbar(length=total, label=label, file=sys.stderr) as bar:
            yield lambda position, _: bar.update(position - bar.pos)
    else:
        yield _Lines(label, total, what).report


class _Lines:
    def __init__(self, label: str, total: int | None, what: str) -> None:
        self._label = label
        self._total = total
        self._what = what
        self._next = LINE_EVERY

    def report(self, position: int, memories: int) -> None:
        if memories < self._next:
            return
        self._next = memories - memories % LINE_EVERY + LINE_EVERY
        share = f", {position * 100 // self._total} %" if self._total else ""
        print(f"{self._label}: {memories} {self._what}{share}", file=sys.stderr, flush=True)
