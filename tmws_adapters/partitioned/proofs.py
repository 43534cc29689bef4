"""Whether the approximate index finds enough, by searches that were made both ways."""

import logging
from collections.abc import Mapping, Sequence

import attrs

from tmws_adapters.partitioned.coverage import Part
from tmws_core.domain.ranking import Hit

logger = logging.getLogger(__name__)

RECALL = 0.99
"""Share of the nearest that a partition has to find."""

NEAREST = 10
"""Hits of a search that count."""

TRIAL = 500
"""Hits by which a partition is judged before it is trusted: 50 searches."""

AUDIT = 50
"""One of so many searches is judged after that, which costs a fiftieth of an exact search."""

GROWTH = 1.25
"""Factor by which a partition may grow before it is on trial again, as a larger graph misses more."""

EQUAL = 1e-6
"""Difference of similarities within which documents are equally near: the precision of 32 bits."""


@attrs.define
class _Record:
    held: int
    wanted: int = 0
    found: int = 0
    searches: int = 0


@attrs.define(eq=False)
class Proofs:
    """What each partition has found of what it should have, since this process began.

    How much a graph misses is a matter of the vectors: as many candidates find 0.998 of the nearest among those of a
    language model and 0.94 among random ones. With `recall` 0 nothing has to be proven.
    """

    recall: float = RECALL
    _records: dict[str, _Record] = attrs.field(factory=dict, init=False)

    def due(self, parts: Sequence[Part]) -> bool:
        """Tell whether the search at hand of these partitions is to be judged."""
        # All of them, because each counts its searches.
        due = [self._due(self._record(part)) for part in parts]
        return any(due)

    def trusted(self, parts: Sequence[Part]) -> bool:
        """Tell whether all these partitions find enough."""
        return all(self._trusted(self._record(part)) for part in parts)

    def judge(self, partitions: Mapping[int, str], exact: Sequence[Hit], found: Sequence[Hit], limit: int) -> None:
        """Note what a search for `limit` hits found of the exact ones.

        `partitions` are those of the documents that lie in partitions that were asked.
        """
        documents = {hit.document for hit in found}
        worst = found[-1].score if len(found) == limit else -1.0
        for hit in exact[:NEAREST]:
            name = partitions.get(hit.document)
            if name is not None:
                record = self._records[name]
                record.wanted += 1
                record.found += hit.document in documents or hit.score <= worst + EQUAL
                if record.wanted == TRIAL:
                    way = "asked" if self._trusted(record) else "searched exactly"
                    logger.info("Partition %s found %.3f of the nearest and is %s", name, record.found / TRIAL, way)

    def _due(self, record: _Record) -> bool:
        record.searches += 1
        return self.recall > 0 and (record.wanted < TRIAL or record.searches % AUDIT == 0)

    def _trusted(self, record: _Record) -> bool:
        return self.recall <= 0 or (record.wanted >= TRIAL and record.found >= self.recall * record.wanted)

    def _record(self, part: Part) -> _Record:
        record = self._records.get(part.name)
        if record is None or part.held > GROWTH * record.held:
            self._records[part.name] = record = _Record(part.held)
        return record
