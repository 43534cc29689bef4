"""Where a database is, and the files of its owner beside it."""

import os
from collections.abc import Mapping

from tmws_adapters.local.libpq import SERVER_SCHEMES, defaults_in, stand_in
from tmws_adapters.paths import located, path_of, unexpanded
from tmws_adapters.private import make_directory

HOME = "~/.tmws"
"""The data directory where none is named."""

AGENT = "default-agent"
"""The agent in whose name stdio and the command line work where none is named."""

DATABASE = "tmws.db"
"""The database in a data directory."""


class Place:
    """A database file, and what belongs to its owner: `lock`, `record` and `log`."""

    __slots__ = ("database", "lock", "log", "record")

    def __init__(self, database: str) -> None:
        # By whatever way a database is named, it has one owner.
        self.database = os.path.realpath(database)
        folder, name = os.path.split(self.database)
        self.lock = os.path.join(folder, "run", f"{name}.lock")
        self.record = os.path.join(folder, "run", f"{name}.owner")
        self.log = os.path.join(folder, "logs", f"{name}.owner.log")

    def prepare(self) -> None:
        """Create the directories of these files, for this user alone.

        Raises:
            OSError: they cannot be created.
        """
        folder = os.path.dirname(self.database)
        for path in (folder, os.path.dirname(self.lock), os.path.dirname(self.log)):
            make_directory(path)


def place_at_once(variables: Mapping[str, str]) -> Place | None:
    """Return the place that the environment names, or None where only the settings can tell.

    They are needed for a file `.env` in the data directory, for a variable that names a file, and to say what is wrong.
    """
    in_files = [name for name in variables if name.startswith("TMWS_") and name.endswith("_FILE")]
    home = located(variables.get("TMWS_HOME", "").strip() or HOME)
    if in_files not in ([], ["TMWS_LOG_FILE"]) or home is None or os.path.lexists(os.path.join(home, ".env")):
        return None
    url = variables.get("TMWS_DATABASE_URL", "").strip()
    if unexpanded(url):
        return None
    if url.startswith(SERVER_SCHEMES):
        name = stand_in(url, defaults_in(os.environ))
        return None if name is None else Place(os.path.join(home, name))
    if url:
        path = path_of(url)
        return None if path is None else Place(path)
    return Place(os.path.join(home, DATABASE))
