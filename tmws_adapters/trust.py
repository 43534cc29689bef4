"""Whom TLS trusts, as the environment says it: variables that other software leaves behind may name what is gone."""

import os
import ssl

import attrs

KEY_LOG = "SSLKEYLOGFILE"
"""Where Python writes the keys of every TLS connection: it opens the file when a context is made."""

CERTIFICATES = "SSL_CERT_FILE"
"""The authorities to trust in the place of those that httpx brings along."""

_NO_FILE_ERROR = "it holds no certificate in PEM"


@attrs.frozen(kw_only=True)
class Untrusting:
    """Why https cannot be spoken; `brief` is for whoever may not know the paths of this machine."""

    brief: str
    reason: str
    hint: str


@attrs.frozen(kw_only=True)
class Trust:
    """What an HTTP client verifies servers by; with a `problem`, nobody, so that only http can be spoken."""

    context: ssl.SSLContext
    problem: Untrusting | None = None


def trust_for(url: str) -> Trust:
    """Return whom to trust at a URL; for http that is nobody, and nothing of the environment is read.

    It takes 45 ms for https, and 0.1 ms for http.
    """
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not url.lower().startswith("https:"):
        return Trust(context=nobody)
    import httpx  # noqa: PLC0415 - takes 0.1 s, and who asks for http may have no use for it

    try:
        return Trust(context=httpx.create_ssl_context())
    except (OSError, ValueError) as error:
        return Trust(context=nobody, problem=untrusting(error))


def untrusting(error: Exception) -> Untrusting:
    """Return what an error in making a context means."""
    path = getattr(error, "filename", None)
    why = _NO_FILE_ERROR if isinstance(error, ssl.SSLError) else getattr(error, "strerror", None) or str(error)
    if blames_key_log(error):
        return Untrusting(
            brief=f"{KEY_LOG} names a file that cannot be written",
            reason=f"TLS cannot be spoken: {path}, which {KEY_LOG} names, cannot be written ({why})",
            hint=f"Unset {KEY_LOG} where TMWS is started, or name a file that can be written, and start TMWS again",
        )
    if named := os.environ.get(CERTIFICATES):
        return Untrusting(
            brief=f"{CERTIFICATES} names a file that cannot be used",
            reason=f"TLS cannot be spoken: {named}, which {CERTIFICATES} names, cannot be used ({why})",
            hint=f"Unset {CERTIFICATES} where TMWS is started, or name a readable PEM file, and start TMWS again",
        )
    return Untrusting(
        brief="the certificates to trust cannot be read",
        reason=f"TLS cannot be spoken: the certificates to trust cannot be read ({why})",
        hint="Run `pip install --force-reinstall certifi`, and start TMWS again",
    )


def without_proxies(error: Exception) -> Untrusting:
    """Return what it means that httpx cannot make a client since it cannot read the proxies of the environment."""
    brief = "the proxies of the environment cannot be read"
    hint = "Correct ALL_PROXY, HTTP_PROXY, HTTPS_PROXY and NO_PROXY where TMWS is started, and start TMWS again"
    return Untrusting(brief=brief, reason=f"{brief} ({error})", hint=hint)


def blames_key_log(error: Exception) -> bool:
    """Tell whether the log of keys is at fault: opening it is all in making a context that names a file."""
    path = getattr(error, "filename", None)
    return bool(path) and path == os.environ.get(KEY_LOG)
