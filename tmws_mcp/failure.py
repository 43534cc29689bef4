"""How an error looks on the wire, and which HTTP status it has."""

import logging
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import attrs

from tmws_core.errors import Kind, TmwsError

logger = logging.getLogger("tmws.request")

STATUS: Mapping[Kind, HTTPStatus] = {
    Kind.INVALID: HTTPStatus.BAD_REQUEST,
    Kind.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    Kind.FORBIDDEN: HTTPStatus.FORBIDDEN,
    Kind.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Kind.CONFLICT: HTTPStatus.CONFLICT,
    Kind.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Kind.LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    Kind.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Kind.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def new_request_id() -> str:
    """Return a name for one request, by which the log and the caller mean the same one."""
    return secrets.token_hex(8)


def error_body(error: TmwsError, request_id: str | None = None, *, with_facts: bool = False) -> dict[str, Any]:
    """Return an error as JSON values; a program that is to raise it again needs its facts."""
    body = described(error.code, error.message, field=error.field, request_id=request_id)
    facts = attrs.asdict(error) if with_facts else {}
    if facts:
        body["error"]["facts"] = facts
    return body


def described(code: str, message: str, *, field: str | None = None, request_id: str | None = None) -> dict[str, Any]:
    """Return an error that belongs to the protocol rather than to an operation as JSON values."""
    facts = {"code": code, "message": message, "field": field, "request_id": request_id}
    return {"success": False, "error": {name: fact for name, fact in facts.items() if fact is not None}}


def unexpected(error: Exception, what: str, request_id: str) -> TmwsError:
    """Log what nobody foresaw, and return the error that tells the caller nothing of it."""
    logger.error("Request %s failed unexpectedly: %s", request_id, what, exc_info=error)
    return TmwsError()
