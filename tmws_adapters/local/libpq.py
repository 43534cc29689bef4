"""Which PostgreSQL database a URL names, by the rules of libpq; an agent terminal starts with it, without the driver.

A name tells all that leads to other tables: hosts, ports, database, user, options and service. Two spellings of one
database may have two names; two databases never have one.
"""

import os
from _blake2 import blake2b  # hashlib is it, and 4 MB of OpenSSL
from collections.abc import Mapping

SERVER_SCHEMES = ("postgresql://", "postgres://")
"""What the URL of a database of a server begins with."""

VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "options": "PGOPTIONS",
    "service": "PGSERVICE",
    "servicefile": "PGSERVICEFILE",
    "sysconfdir": "PGSYSCONFDIR",
}
"""What names a database, and where libpq finds it if a URL does not say; no URL has a `sysconfdir`."""

_LOGIN = "login"
"""The user of the operating system, whom libpq takes for the one of the database where nobody names one."""

_PLAIN = "-._~"
"""What stands for itself in a URL (RFC 3986, 2.3), beside letters and digits."""

_SCHEMAS = ("-csearch_path=", "-c search_path=", "--search_path=")
"""Options that are shown; others may hold what is nobody's business."""


def parameters_of(url: str) -> dict[str, str] | None:
    """Return the parameters of a connection that a URL gives, a password among them, or None if it is none.

    The grammar is that of `conninfo_uri_parse_options` in libpq, which takes all up to the first `@` or `/` for user
    and password. An `@` behind that would have to be %40, and a port has digits: with anything else somebody has
    written a password as it is, and parts of it stand where they would be shown.
    """
    login, hosts, path, query = _parts(url)
    user, _, password = login.partition(":")
    split = _hosts_and_ports(hosts)
    if split is None or "@" in hosts or "@" in path:
        return None
    # What is empty counts as left out, unlike in the query.
    given = {"user": user, "password": password, "host": split[0], "port": split[1], "dbname": path}
    pairs = [pair for pair in given.items() if pair[1]]
    for each in query.removesuffix("&").split("&") if query else ():
        name, equals, value = each.partition("=")
        if not equals or "=" in value:
            return None
        pairs.append((name.strip(" "), value))
    found = {}
    for name, value in pairs:
        key, text = _decoded(name), _decoded(value)
        if key is None or text is None:
            return None
        found[key] = text
    return found


def defaults_in(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what libpq takes from an environment where a URL does not say it, by parameter; it may go to others.

    It means the same in every working directory.
    """
    found = {name: environ[variable] for name, variable in VARIABLES.items() if variable in environ}
    try:
        import pwd  # noqa: PLC0415 - Windows has none

        login = pwd.getpwuid(os.geteuid())
        found[_LOGIN] = login.pw_name
        home = environ.get("HOME") or login.pw_dir
    except (ImportError, KeyError):  # containers often have users without a name
        home = environ.get("HOME", "")
    found.setdefault("servicefile", os.path.join(home, ".pg_service.conf"))
    for name in ("servicefile", "sysconfdir"):
        if name in found and not os.path.isabs(found[name]):
            found[name] = os.path.join(_directory(), found[name])
    return found


def database_of(url: str, defaults: Mapping[str, str]) -> str | None:
    """Return the name of the database of a URL, which holds no password, or None if libpq would refuse the URL.

    `defaults` are those of whoever would connect, see `defaults_in`. What a file of services says is not looked at.
    """
    parameters = parameters_of(url)
    if parameters is None:
        return None
    given = {**defaults, **parameters}
    service = given.get("service", "")
    user = given.get("user", "" if service else given.get(_LOGIN, ""))
    database = given.get("dbname", "") or ("" if service else user)
    hosts, ports = given.get("host", "").split(","), given.get("port", "").split(",")
    more = {"hostaddr": given.get("hostaddr", ""), "options": _shown(given.get("options", "")), "service": service}
    if service:
        more |= {name: given.get(name, "") for name in ("servicefile", "sysconfdir")}
    if len(ports) not in (1, len(hosts)):
        more["port"] = given["port"]  # as many as addresses, or an error
        ports = [""]
    if len(ports) < len(hosts):
        ports *= len(hosts)
    places = ",".join(_place(host, port) for host, port in zip(hosts, ports, strict=True))
    path = f"/{_quoted(database)}" if database else ""
    query = "&".join(f"{name}={_quoted(value, '/,')}" for name, value in more.items() if value)
    return f"postgresql://{_quoted(user)}{'@' if user else ''}{places}{path}{'?' if query else ''}{query}"


def former_name_of(url: str, defaults: Mapping[str, str]) -> str | None:
    """Return the name, without a user, that older versions had for a database, or None if they gave it to others, too.

    They looked at nothing but what stands between the first `@` and the `?` of a URL.
    """
    login, hosts, path, _ = _parts(url)
    alone = f"postgresql://{login}@{hosts}/{path}" if login else f"postgresql://{hosts}/{path}"
    users = {name: value for name, value in defaults.items() if name in ("user", _LOGIN)}
    name = database_of(url, defaults)
    told = name and path and not any(sign in login + hosts + path for sign in "#?")
    return f"postgresql://{hosts}/{path}" if told and database_of(alone, users) == name else None


def stand_in(url: str, defaults: Mapping[str, str]) -> str | None:
    """Return what the file is called that stands for the database of a URL, or None as `database_of` does.

    It is in the directory of one user of the operating system, who is not in its name.
    """
    name = database_of(url, {key: value for key, value in defaults.items() if key != _LOGIN})
    if name is None:
        return None
    user, _, place = name.removeprefix("postgresql://").rpartition("@")
    named = f"{user}@postgresql://{place}"
    return f"postgresql-{blake2b(named.encode(), digest_size=8).hexdigest()}"


def _parts(url: str) -> tuple[str, str, str, str]:
    """Return user and password, hosts and ports, database, and parameters of a URL, as they stand there."""
    rest = url.partition("://")[2]
    before, at, behind = rest.partition("@")
    login, rest = (before, behind) if at and "/" not in before else ("", rest)
    # An address of IPv6 ends with its bracket, whatever is in it.
    ends = [found for found in (_outside(rest, "/"), _outside(rest, "?")) if found >= 0]
    end = min(ends, default=len(rest))
    hosts, rest = rest[:end], rest[end:]
    path, _, query = rest[1:].partition("?") if rest.startswith("/") else ("", "", rest[1:])
    return login, hosts, path, query


def _outside(text: str, sign: str) -> int:
    """Return where a sign stands first outside of the brackets that begin a host, or -1."""
    inside = False
    for position, each in enumerate(text):
        if each == "[" and (position == 0 or text[position - 1] == ","):
            inside = True
        elif inside:
            inside = each != "]"
        elif each == sign:
            return position
    return -1


def _hosts_and_ports(text: str) -> tuple[str, str] | None:
    """Return the hosts and the ports of `host:port,host:port`, with their commas, or None if it is no such list."""
    hosts, ports = [], []
    while True:
        if text.startswith("["):
            host, closing, text = text[1:].partition("]")
            if not host or not closing or text[:1] not in ("", ":", ","):
                return None
        else:
            end = min((found for found in (text.find(":"), text.find(",")) if found >= 0), default=len(text))
            host, text = text[:end], text[end:]
        port, comma, rest = text.removeprefix(":").partition(",")
        if port and not (port.isascii() and port.isdigit()):
            return None
        hosts.append(host)
        ports.append(port)
        if not comma:
            break
        text = rest
    return ",".join(hosts), ",".join(ports)


def _decoded(text: str) -> str | None:
    """Return a text without its percent escapes, or None if one is no byte, or zero, or what they are is no UTF-8."""
    first, *others = text.split("%")
    data = first.encode("utf-8", "surrogateescape")
    for each in others:
        digits = each[:2]
        if len(digits) < 2 or not all(digit in "0123456789abcdefABCDEF" for digit in digits) or digits == "00":  # noqa: PLR2004 - a byte
            return None
        data += bytes.fromhex(digits) + each[2:].encode("utf-8", "surrogateescape")
    try:
        return data.decode()
    except UnicodeDecodeError:  # the driver does not take it
        return None


def _place(host: str, port: str) -> str:
    shown = f"[{_quoted(host, ':')}]" if ":" in host else _quoted(host)
    return f"{shown}:{_quoted(port)}" if port else shown


def _shown(options: str) -> str:
    """Return options that say nothing but a schema, or a digest of others."""
    said = options.strip(" ")
    begin = next((each for each in _SCHEMAS if said.startswith(each)), None)
    if not said or (begin is not None and not any(each.isspace() for each in said.removeprefix(begin))):
        return said
    return f"#{blake2b(options.encode('utf-8', 'surrogateescape'), digest_size=8).hexdigest()}"


def _quoted(text: str, also: str = "") -> str:
    """Return a text as it stands in a URL, with the signs of `also` as they are."""
    signs = _PLAIN + also
    return "".join(
        each
        if each.isascii() and (each.isalnum() or each in signs)
        else "".join(f"%{byte:02X}" for byte in each.encode("utf-8", "surrogateescape"))
        for each in text
    )


def _directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return ""
