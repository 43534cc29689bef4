"""Looking after the database that the settings name: a part of the composition root."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from tmws_adapters.migrations.standing import Change, Standing
from tmws_adapters.settings import Settings
from tmws_core.ports.health import Flaw, Reindexed

if TYPE_CHECKING:
    from tmws_adapters.migrations.shape import Difference

__all__ = ["Change", "Flaw", "Reindexed", "Standing", "Tell", "Upkeep", "upkeep_of"]

Tell = Callable[[str], None]
"""Takes a line about how far the work is."""


class Upkeep(Protocol):
    """Work on a database as a whole, by its administrator; it blocks. Every method may raise a StorageUnavailable."""

    def standing(self) -> Standing:
        """Tell how the schema stands to this version of the program."""
        ...

    def upgrade(self, tell: Tell) -> Change:
        """Create the schema, or bring it up to date; nothing happens to one that is current."""
        ...

    def downgrade(self, tell: Tell) -> Change:
        """Take the last revision back; NoFormerSchema where there is none before."""
        ...

    def differences(self) -> "list[Difference]":
        """Return what is not as the database's revision makes it; SchemaTooNew for a revision of a newer version."""
        ...

    def integrity(self, tell: Tell) -> list[Flaw]:
        """Read the whole database and return what is wrong with it."""
        ...

    def reindex(self, tell: Tell) -> Reindexed:
        """Make the lexical index that of the texts again, where it is not; others may go on meanwhile."""
        ...

    def size(self) -> int:
        """Return the bytes that the database takes."""
        ...

    def vacuum(self, tell: Tell) -> None:
        """Give the space of what was deleted back."""
        ...

    def analyze(self, tell: Tell) -> None:
        """Count what the planner of queries goes by."""
        ...


def upkeep_of(settings: Settings) -> Upkeep:
    """Return what looks after the database; nothing is opened yet.

    Raises:
        ConfigurationError: TMWS_DATABASE_URL names no database.
    """
    if settings.uses_postgres:
        from tmws_adapters.postgres.upkeep import PostgresUpkeep  # noqa: PLC0415 - see bootstrap

        return PostgresUpkeep(settings.database_url)
    from tmws_adapters.sqlite.upkeep import SqliteUpkeep  # noqa: PLC0415 - as above

    return SqliteUpkeep(settings.sqlite_path)
