"""Where an HTTP server listens, and whether it may."""

import errno
import ipaddress
import logging
import socket
from collections.abc import Sequence
from contextlib import suppress

from tmws_adapters.authentication import check_authentication
from tmws_adapters.settings import Settings
from tmws_core.errors import ConfigurationError
from tmws_mcp.guard import url_host

logger = logging.getLogger("tmws")

_BACKLOG = 2048
"""Connections that wait to be accepted: uvicorn's own default."""


def check_exposure(settings: Settings) -> None:
    """Refuse to serve other machines without knowing who asks.

    Raises:
        ConfigurationError: see `check_authentication`, or nobody is asked and the address is no loopback address.
    """
    check_authentication(settings)
    if settings.authenticates or is_loopback(settings.listen_host):
        return
    if not settings.allow_insecure:
        raise ConfigurationError(
            setting="TMWS_HOST",
            reason=f"without authentication, {settings.listen_host} would let other machines read and write everything",
            hint="Set TMWS_AUTH_ENABLED=true, or listen on 127.0.0.1; TMWS_ALLOW_INSECURE=true trusts the network",
        )
    logger.warning("⚠️ No authentication: whoever reaches %s reads and writes everything", settings.listen_host)


def listen(hosts: Sequence[str], port: int) -> tuple[socket.socket, ...]:
    """Return sockets that listen on one port of each address; port 0 takes one that is free on the first.

    Addresses beyond the first are left out where this machine has none of their kind.

    Raises:
        ConfigurationError: an address cannot be had.
    """
    first = _listen(hosts[0], port)
    listeners = [first]
    try:
        for host in hosts[1:]:
            with suppress(_Absent):
                listeners.append(_listen(host, first.getsockname()[1]))
    except ConfigurationError:
        if port:
            for listener in listeners:
                listener.close()
            raise
    return tuple(listeners)


class _Absent(ConfigurationError):
    """This machine has no such address."""


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise ConfigurationError(
            setting="TMWS_HOST", reason=f"{host[:100]!r} cannot be resolved", hint="Give an address such as 127.0.0.1"
        ) from None
    try:
        listener = socket.socket(family, kind, protocol)
    except OSError as error:  # no such family
        raise _refusal(host, port, error) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _refusal(host, port, error) from None
    return listener


def url_of(host: str, listener: socket.socket) -> str:
    """Return the base URL of a listening socket."""
    return f"http://{url_host(host)}:{listener.getsockname()[1]}"


def is_loopback(host: str) -> bool:
    """Tell whether an address is reached from this machine only."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refusal(host: str, port: int, error: OSError) -> ConfigurationError:
    match error.errno:
        case errno.EADDRINUSE:
            hint = "Stop what listens there or choose another with --port"
            return ConfigurationError(setting="TMWS_PORT", reason=f"{port} is in use", hint=hint)
        case errno.EACCES:
            hint = "Choose one above 1023 with --port"
            return ConfigurationError(setting="TMWS_PORT", reason=f"{port} is not open to this user", hint=hint)
        case _:
            hint = "Give an address of this machine, such as 127.0.0.1"
            reason = f"cannot listen on {host}: {error.strerror}"
            return _Absent(setting="TMWS_HOST", reason=reason, hint=hint)
