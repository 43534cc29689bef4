"""Chroma on a server."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import attrs
import httpx
from chromadb.api import ServerAPI
from chromadb.api.fastapi import FastAPI
from chromadb.config import System
from chromadb.errors import ChromaError, error_types

from tmws_adapters.chroma.address import SETTING, Address
from tmws_adapters.chroma.errors import PART
from tmws_adapters.chroma.parameters import HnswParameters
from tmws_adapters.chroma.partitions import Partitions
from tmws_adapters.chroma.quiet import QuietSettings
from tmws_adapters.trust import trust_for, without_proxies
from tmws_core.errors import IndexUnavailable

_REACH_REMEDY = f"Start it with `chroma run`, or check {SETTING}"
_ADDRESS_REMEDY = f"Check that {SETTING} leads to Chroma itself, with the right name and password"
_LOG_REMEDY = "See the log of `chroma run`; if it does not help, run `tmws index rebuild`"


@attrs.frozen(eq=False)
class ServerChroma:
    """A Chroma server, asked anew for everything: nothing that it says is kept."""

    _address: Address
    _timeout: timedelta
    _session: httpx.Client
    _partitions: Partitions

    @contextmanager
    def working(self) -> Iterator[Partitions]:
        """Lend the partitions; IndexUnavailable if the server fails."""
        try:
            yield self._partitions
        except httpx.TimeoutException as error:
            reason = f"no answer from {self._address} within {self._timeout.total_seconds():g} seconds"
            raise IndexUnavailable(part=PART, reason=reason, hint="Check the load of the server") from error
        except httpx.HTTPStatusError as error:
            reason = f"{self._address} answered {error.response.status_code}"
            raise IndexUnavailable(part=PART, reason=reason, hint=_ADDRESS_REMEDY) from error
        except httpx.HTTPError as error:
            reason = f"{self._address} does not answer ({str(error) or type(error).__name__})"
            raise IndexUnavailable(part=PART, reason=reason, hint=_REACH_REMEDY) from error
        except ChromaError as error:
            reason = f"{self._address} answered: {error.message()}"
            raise IndexUnavailable(part=PART, reason=reason, hint=_LOG_REMEDY) from error
        except (ValueError, KeyError, TypeError) as error:
            # From a driver that takes every answer for one of Chroma's.
            reason = f"{self._address} answered something else than Chroma does"
            raise IndexUnavailable(part=PART, reason=reason, hint=_ADDRESS_REMEDY) from error

    def close(self) -> None:
        """Close the connections; nobody may be working."""
        self._session.close()


def open_server(address: Address, timeout: timedelta, prefix: str, parameters: HnswParameters) -> ServerChroma:
    """Prepare for talking to a server; connects with the first request.

    IndexUnavailable if the environment does not let it, since TLS or a proxy that it sets up is of no use.
    """
    trust = trust_for(address.url)
    if trust.problem is not None:
        raise IndexUnavailable(part=PART, reason=trust.problem.reason, hint=trust.problem.hint)
    headers = {"Authorization": address.authorization} if address.authorization else {}
    settings = QuietSettings(
        chroma_api_impl="chromadb.api.fastapi.FastAPI",
        chroma_server_host=address.url,
        chroma_server_http_port=address.port,
        chroma_server_ssl_enabled=address.url.startswith("https:"),
        chroma_server_headers=headers,
        # Of a session that makes no request (see _bounded): the driver would read certificates for http, too.
        chroma_server_ssl_verify=False,
    )
    # Not through a Client, which connects when it is made.
    system = System(settings)
    try:
        api = system.instance(ServerAPI)  # type: ignore[type-abstract]  # the settings name what is made
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        # The session that the driver makes reads the proxies of the environment, though none is used.
        problem = without_proxies(error)
        raise IndexUnavailable(part=PART, reason=problem.reason, hint=problem.hint) from error
    system.start()
    assert isinstance(api, FastAPI)  # noqa: S101 - by chroma_api_impl
    session = _bounded(api, timeout, trust.context)
    return ServerChroma(address, timeout, session, Partitions(api, prefix, parameters))


def _bounded(api: FastAPI, timeout: timedelta, context: ssl.SSLContext) -> httpx.Client:
    """Put a session with a timeout in the place of the driver's, which has none and no setting for it."""
    unbounded = api._session  # noqa: SLF001
    session = httpx.Client(
        headers=unbounded.headers,
        timeout=timeout.total_seconds(),
        # Given explicitly, because the default one sends vectors through the proxies that the environment names.
        transport=httpx.HTTPTransport(verify=context),
        event_hooks={"response": [_raise_foreign]},
    )
    unbounded.close()
    api._session = session  # noqa: SLF001
    return session


def _raise_foreign(response: httpx.Response) -> None:
    """Raise HTTPStatusError for a refusal that is not Chroma's own; the driver raises a bare Exception for it."""
    if response.is_success:
        return
    response.read()
    try:
        foreign = response.json()["error"] not in error_types
    except (ValueError, KeyError, TypeError):
        foreign = True
    if foreign:
        response.raise_for_status()
