"""Errors over a wire: what was raised at one end is raised at the other."""

import json
from collections.abc import Iterator
from typing import TypeVar

import attrs
import pytest

from tmws_adapters.remote.failures import RemoteFailure, error_of
from tmws_adapters.remote.http import KINDS
from tmws_core import errors
from tmws_core.errors import (
    AgentExists,
    AgentInactive,
    AgentNotFound,
    ConfigurationError,
    ContentTooLarge,
    CredentialNotFound,
    Forbidden,
    InvalidField,
    KeyConflict,
    KeyRepeated,
    Kind,
    LicenseInvalid,
    LicenseLimit,
    LockedOut,
    MalformedRequest,
    MemoryNotFound,
    Overloaded,
    PartUnavailable,
    QuotaExceeded,
    RateLimited,
    RequestTimedOut,
    RequestTooLarge,
    TmwsError,
    TooManyValues,
    Unauthenticated,
    UnknownOperation,
    VersionConflict,
)
from tmws_mcp.failure import STATUS, error_body

Error = TypeVar("Error", bound=TmwsError)

MEMORY_ID = "019c1414-3a00-7cc2-8f3f-0d9a5f6f6f10"


def below(cls: type[Error]) -> Iterator[type[Error]]:
    yield cls
    for each in cls.__subclasses__():
        yield from below(each)


CLASSES = {cls for cls in below(TmwsError) if cls.__module__.startswith(f"{errors.__name__}.")}

SAMPLES: list[TmwsError] = [
    TmwsError(),
    InvalidField(name="limit", reason="101 is out of range", hint="Give a number from 1 to 100"),
    InvalidField(name="memories[2].tags[0]", reason="is empty"),
    InvalidField(name="a: b (c)", reason="is unknown", hint="Known are: content, tags"),
    InvalidField(name="content", reason="holds\nlines", hint="Remove them"),
    ContentTooLarge(name="content", reason="has 65537 bytes", hint="Give at most 65536 bytes"),
    MalformedRequest(reason="The body is not valid JSON: unexpected end of data"),
    RequestTooLarge(limit=8_388_608),
    TooManyValues(limit=400_000),
    UnknownOperation(name="get_memry", nearest="get_memory"),
    UnknownOperation(name="fly"),
    MemoryNotFound(memory_id=MEMORY_ID),
    MemoryNotFound(memory_id=MEMORY_ID, name="superseded_by"),
    VersionConflict(memory_id=MEMORY_ID, expected=3, actual=5),
    KeyConflict(memory_id=MEMORY_ID, differs="content"),
    KeyConflict(memory_id=MEMORY_ID, differs="tags", name="memories[2].idempotency_key"),
    KeyRepeated(other="memories[0]", differs="content", name="memories[2].idempotency_key"),
    Forbidden(action="call get_memory", needs="the permission memory:read"),
    Forbidden(action="write system memories", needs="an administrator", name="access_level"),
    AgentInactive(action="act for ada", needs="an active agent", name="agent_id"),
    AgentNotFound(agent_id="ada"),
    AgentExists(agent_id="ada"),
    Unauthenticated(reason="The token has expired", hint="Get a new one"),
    CredentialNotFound(),
    RateLimited(limit="one agent may send 100 in 60 seconds", retry_after=0.25),
    LockedOut(limit="wrong credentials came from this address", retry_after=299.5),
    Overloaded(),
    LicenseLimit(tier="FREE", limit=1, agent_id="ada"),
    QuotaExceeded(agent_id="ada", what="bytes", limit=10),
    LicenseInvalid(setting="TMWS_LICENSE_KEY", reason="has the wrong checksum", hint="Copy it whole"),
    RequestTimedOut(seconds=0.5),
    ConfigurationError(setting="TMWS_PORT", reason="8000 is in use", hint="Choose another with --port"),
    *(
        cls(part="sqlite", reason="it: is not there", hint="Start it")
        for cls in sorted(below(PartUnavailable), key=str)
        if cls in CLASSES
    ),
    PartUnavailable(part="onnx", reason="is loading"),
]


@pytest.mark.parametrize("error", SAMPLES, ids=repr)
def test_error_comes_back_as_it_was_raised(error: TmwsError) -> None:
    back = error_of(json.loads(json.dumps(error_body(error, with_facts=True)))["error"])
    assert type(back) is type(error)
    assert attrs.asdict(back) == attrs.asdict(error)
    assert (back.code, back.kind, back.message, back.field) == (error.code, error.kind, error.message, error.field)


def test_every_class_of_errors_has_a_sample() -> None:
    assert {type(error) for error in SAMPLES} == CLASSES


def test_classes_of_one_code_are_of_one_kind_and_told_apart_by_their_facts() -> None:
    assert len({(cls.code, *sorted(field.name for field in attrs.fields(cls))) for cls in CLASSES}) == len(CLASSES)
    assert len({(cls.code, cls.kind) for cls in CLASSES}) == len({cls.code for cls in CLASSES})
    shared = [cls.code for cls in CLASSES if cls not in (KeyConflict, KeyRepeated, VersionConflict)]
    assert len(set(shared)) == len(shared)


def test_unknown_code_is_kept_with_everything_that_was_said() -> None:
    error = error_of({"code": "too_sleepy", "message": "Not now", "field": "query", "kind": "limited"})
    assert type(error) is RemoteFailure
    assert (error.code, error.kind, error.message, error.field) == ("too_sleepy", Kind.LIMITED, "Not now", "query")
    assert str(error) == "Not now"
    assert error_of({"code": "too_sleepy"}, Kind.CONFLICT).kind is Kind.CONFLICT
    assert error_of({"code": "too_sleepy", "kind": "new"}).kind is Kind.INTERNAL


@pytest.mark.parametrize("cls", sorted(CLASSES, key=str))
def test_error_that_another_version_words_differently_keeps_its_class_and_that_text(cls: type[TmwsError]) -> None:
    error = error_of({"code": cls.code, "message": "Es geht nicht", "field": "f"})
    assert isinstance(error, cls)
    assert (error.code, error.kind, error.message, error.field) == (cls.code, cls.kind, "Es geht nicht", "f")
    assert "Es geht nicht" in repr(error)


def test_status_tells_the_kind_as_the_server_chose_it() -> None:
    assert {kind: status for status, kind in KINDS.items()} | {Kind.INTERNAL: 500} == dict(STATUS)
