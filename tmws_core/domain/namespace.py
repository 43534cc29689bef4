"""Namespaces: paths such as `acme/backend` that keep the memories of teams apart."""

from tmws_core.domain.constraints import Text

NAMESPACE_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*){0,7}"
"""One to eight segments, separated by slashes."""

NAMESPACE = Text(
    minimum=1,
    maximum=128,
    pattern=NAMESPACE_PATTERN,
    expected="a namespace (a path such as acme/backend, of ASCII letters, digits and . _ -)",
)


def is_within(namespace: str, parent: str) -> bool:
    """Tell whether a namespace is `parent` or lies below it; `acme` holds `acme/backend`, but not `acme2`."""
    return namespace == parent or namespace.startswith(f"{parent}/")
