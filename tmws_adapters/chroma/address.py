"""Where a Chroma server is."""

import base64
from urllib.parse import unquote, urlsplit

import attrs

from tmws_core.errors import ConfigurationError

SETTING = "TMWS_CHROMA_URL"


@attrs.frozen
class Address:
    """A server's URL without name and password, and the header that carries these; `repr` does not show it."""

    url: str
    port: int
    authorization: str | None = attrs.field(repr=False)

    def __str__(self) -> str:
        return self.url


def parse_address(url: str) -> Address:
    """Take a URL apart; ConfigurationError unless it is an http or https URL with a host."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise _malformed() from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _malformed()
    bare = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
    if parts.username is None:
        return Address(bare, port, None)
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Address(bare, port, f"Basic {base64.b64encode(credentials.encode()).decode()}")


def _malformed() -> ConfigurationError:
    return ConfigurationError(
        setting=SETTING, reason="is no http or https URL", hint="Give one such as http://127.0.0.1:8000"
    )
