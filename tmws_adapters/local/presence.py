"""Whether paths still lead to the files that are open: anybody may delete, move or replace them at any time."""

import os

Identity = tuple[int, int]
"""The device and the inode of a file; no other file has them while this one is open."""


def identity_of(path: str) -> Identity | None:
    """Return what a path leads to, through symbolic links, or None where it leads nowhere; takes a microsecond."""
    try:
        found = os.stat(path)
    except OSError:  # whoever opens it now does not reach the file either
        return None
    return found.st_dev, found.st_ino


class Presence:
    """Files by their paths, as they were when they were noted."""

    __slots__ = ("_known",)

    def __init__(self, *paths: str) -> None:
        self._known = {path: identity_of(path) for path in paths}

    def is_complete(self) -> bool:
        """Tell whether each path leads to the same file as before, or still nowhere."""
        return all(identity_of(path) == identity for path, identity in self._known.items())
