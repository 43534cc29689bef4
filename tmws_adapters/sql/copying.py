"""Making the tables of one store those of another, whatever they hold already.

Rows are compared in the order of their keys, and only those that differ are written. So a copy that was interrupted, or
that lies back a while, is completed by doing it again.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import attrs

from tmws_adapters.sql.tables import TABLES, Row, Snapshot, Standing, Sum, Table, Tables
from tmws_core.errors import StorageCorrupt

Report = Callable[[int], None]
"""Takes how many more rows of the source were looked at."""


@attrs.frozen(kw_only=True)
class Pass:
    """What the source was at one moment, and how many rows of the target were written or removed for it."""

    standing: Standing
    sums: dict[str, Sum]
    written: dict[str, int]


async def copy(source: Tables, target: Tables, report: Report) -> Pass:
    """Make the tables of the target those that the source has at this moment."""
    sums, written = {}, {}
    async with source.snapshot() as snapshot:
        standing = await snapshot.standing()
        await target.prepare(await snapshot.months())
        for table in TABLES:
            sums[table.name], written[table.name] = await _copied(table, snapshot, target, report)
    await target.finish(standing.document)
    return Pass(standing=standing, sums=sums, written=written)


async def verify(done: Pass, target: Tables) -> None:
    """Read the target, and raise StorageCorrupt unless it holds what the source held."""
    async with target.snapshot() as snapshot:
        for table in TABLES:
            found, wanted = await summed(table, snapshot), done.sums[table.name]
            if (found.rows, found.digest) != (wanted.rows, wanted.digest):
                raise StorageCorrupt(
                    part="move",
                    reason=f"{table.name} has {found.rows} rows ({found.digest}) in the target,"
                    f" {wanted.rows} ({wanted.digest}) in the source",
                    hint="See that nothing else uses the target, and run the same command again",
                )


async def summed(table: Table, snapshot: Snapshot) -> Sum:
    """Return the sum of a table."""
    total = Sum()
    async with aclosing(snapshot.rows(table)) as blocks:
        async for block in blocks:
            total.add(block)
    return total


async def _copied(table: Table, source: Snapshot, target: Tables, report: Report) -> tuple[Sum, int]:
    total, written = Sum(), 0
    async with (
        target.snapshot() as former,
        aclosing(former.rows(table)) as there,
        aclosing(source.rows(table)) as blocks,
    ):
        present = _Present(table, there)
        async for block in blocks:
            total.add(block)
            rows = await present.up_to(block[-1][: table.keys])
            new = [row for row in block if rows.get(row[: table.keys]) != row]
            kept = {row[: table.keys]: row for row in block}
            gone = [row for key, row in rows.items() if kept.get(key) != row]
            if new or gone:
                await target.apply(table, gone, new)
                written += len(new)
            report(len(block))
        async for gone in present.rest():
            await target.apply(table, gone, [])
            written += len(gone)
    return total, written


@attrs.define
class _Present:
    """The rows of a table in the target, taken in the order of their keys."""

    _table: Table
    _blocks: AsyncIterator[list[Row]]
    _rows: list[Row] = attrs.field(factory=list, init=False)
    _ended: bool = attrs.field(default=False, init=False)

    async def up_to(self, key: Row) -> dict[Row, Row]:
        """Take the rows up to a key, and return them by their keys."""
        keys = self._table.keys
        while not self._ended and (not self._rows or self._rows[-1][:keys] <= key):
            await self._read()
        taken = {row[:keys]: row for row in self._rows if row[:keys] <= key}
        self._rows = self._rows[len(taken) :]
        return taken

    async def rest(self) -> AsyncIterator[list[Row]]:
        """Take the rows that are left."""
        while self._rows or not self._ended:
            if self._rows:
                yield self._rows
            self._rows = []
            await self._read()

    async def _read(self) -> None:
        block = await anext(self._blocks, None)
        self._ended = block is None
        self._rows += block or []
