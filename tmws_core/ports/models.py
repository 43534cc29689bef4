"""The embedding models of a store, and how it changes from one to another."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

import attrs

from tmws_core.domain.embedding import Canary, EmbeddingModel, KnownModel, Vector
from tmws_core.ports.storage import Unembedded

Role = Literal["next", "former"]


@attrs.frozen(kw_only=True)
class ModelStanding:
    """Which models a store holds vectors of, and of how many of its memories.

    `embedded` have a vector of the active model, `prepared` one of the next, `kept` one of the former.
    """

    memories: int
    active: KnownModel | None
    embedded: int
    next: KnownModel | None
    prepared: int
    former: KnownModel | None
    kept: int


class Migration(Protocol):
    """The change of a store's model, by the one process that may make it.

    Each method is one durable transaction, so that the work can be taken up again after a crash. Everybody else reads,
    searches and writes with the active model meanwhile.
    """

    async def begin(self, model: EmbeddingModel, canary: Canary) -> None:
        """Name the next model; there must be none."""
        ...

    async def missing(self, after: int, limit: int) -> list[Unembedded]:
        """Return texts without a vector of the next model, by document, beginning behind the document `after`.

        Others may come before it as well: numbers are given before they are committed.
        """
        ...

    async def prepare(self, vectors: Mapping[int, Vector]) -> int:
        """Add vectors of the next model by document and return how many.

        Documents that are gone are passed over, and so are those that somebody is changing: they stay missing.
        """
        ...

    async def switch(self, spare: int) -> bool:
        """Make the next model the active one and the active one the former, all at once.

        Does nothing, and returns False, if more than `spare` memories would be left without a vector. There must be no
        former model.
        """
        ...

    async def roll_back(self) -> None:
        """Make the former model the active one and the active one the former; NoFormerModel if there is none.

        Memories without a vector of it wait for one.
        """
        ...

    async def forget(self, role: Role, limit: int) -> int:
        """Delete at most `limit` vectors of a model and return how many; with the last ones the store lets go of it."""
        ...


class Models(Protocol):
    """The models of a store."""

    async def standing(self) -> ModelStanding:
        """Count the vectors of each."""
        ...

    def migration(self) -> AbstractAsyncContextManager[Migration]:
        """Become the process that may change the model; MigrationRunning if another one is."""
        ...
