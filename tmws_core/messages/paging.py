"""Answers that come page by page."""

import json
from typing import Any

import attrs

from tmws_core.wire import unstructure


def seal_of(request: Any) -> str:
    """Return what identifies a request that has `cursor` and `limit`, whichever page is asked for, and however long."""
    return json.dumps(unstructure(attrs.evolve(request, cursor=None, limit=1)), sort_keys=True)
