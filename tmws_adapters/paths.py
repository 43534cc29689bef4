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


def unexpanded(text: str) -> str | None:
    """Return what a shell would have expanded in a path or URL, and some client has not; None if there is nothing.

    That is `${NAME}`, and `$NAME` or `%NAME%` at the beginning of a part. `%41%` is a byte in a URL.
    """
    _, found, rest = text.partition("${")
    if found and "}" in rest:
        return f"${{{rest.partition('}')[0]}}}"
    for part in text.split("/"):
        sign, rest = part[:1], part[1:]
        name, closing, _ = rest.partition("%")
        if sign == "%" and closing and len(name) > len("41") and name.isidentifier():
            return f"%{name}%"
        name = "".join(each if each.isalnum() or each == "_" else " " for each in rest).partition(" ")[0]
        if sign == "$" and name.isidentifier():
            return f"${name}"
    return None


def located(path: str) -> str | None:
    """Return an absolute path, or None for one that leads nowhere.

    That is `~` of nobody, what is relative to a directory that was deleted, and what nothing has expanded.
    """
    if unexpanded(path):
        return None
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


def path_of(url: str) -> str | None:
    """Return the file that `sqlite:///relative`, `sqlite:///~/in-home` or `sqlite:////absolute` names, or None.

    Nothing is decoded. Parameters behind a `?` are left out; of a file with a `?` or `#` in its name there is no URL.
    """
    scheme, _, rest = url.partition("://")
    path, _, parameters = rest.partition("?")
    if scheme.lower() not in ("sqlite", "sqlite+aiosqlite") or not path.startswith("/") or path == "/":
        return None
    if "#" in rest or not all("=" in each for each in parameters.split("&") if parameters):
        return None
    return located(path[1:]) if path.startswith("/~") else path[1:]
