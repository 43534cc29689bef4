"""How long an owner may take."""

from collections.abc import Mapping

TIMEOUT = 60.0
"""Seconds that a request may take, where nobody says: the default of TMWS_REQUEST_TIMEOUT."""

GRACE_SECONDS = 2.0
"""How much longer than a request may take its answer is waited for; the way takes 0.1 ms."""

LONGEST = 86_400.0
"""Seconds, a day: what is waited at most, whatever the settings say."""


def told_by(welcome: Mapping[str, object]) -> float:
    """Return how many seconds a request may take as the owner says in its welcome."""
    timeout = welcome.get("timeout")
    return timeout if isinstance(timeout, int | float) else TIMEOUT


def told_here(variables: Mapping[str, str]) -> float:
    """Return how many seconds a request may take as this process is told; whether that is sensible the owner says."""
    try:
        seconds = float(variables.get("TMWS_REQUEST_TIMEOUT", ""))
    except ValueError:
        return TIMEOUT
    return min(seconds, LONGEST) if seconds > 0 else TIMEOUT
