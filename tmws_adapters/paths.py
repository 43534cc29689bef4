"""Paths as people write them: with `~`, relative to where they are, or left out."""

import os


def home_directory() -> str | None:
    """Return the directory of this user, or None where there is none: services and containers often have no such."""
    home = os.environ.get("HOME", "")
    if not os.path.isabs(home):
        import pwd  # noqa: PLC0415 - nearly every user has HOME

        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            return None
    return home if os.path.isdir(home) else None


def located(path: str) -> str | None:
    """Return an absolute path, or None for one that leads nowhere.

    That is `~` of nobody, and what is relative to a directory that was deleted.
    """
    if path == "~" or path.startswith("~/"):
        home = home_directory()
        return None if home is None else home.rstrip("/") + path[1:]
    if path.startswith("~"):
        path = os.path.expanduser(path)
        return None if path.startswith("~") else path
    try:
        return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)
    except OSError:
        return None
