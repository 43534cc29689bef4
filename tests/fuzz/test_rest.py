"""REST against its own description: each answer is one of those that `/openapi.json` has, soon, and tells no more."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import hypothesis
import jsonschema
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.fuzz.world import HANG, SECONDS, bursts, leaks, prepare
from tests.shells.serving import HttpServer, http_server
from tmws_adapters.remote.app import operations
from tmws_core.lenient import understood
from tmws_core.schema import schema_of

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]

TOO_LARGE = 413
"""A refusal that `negative_data_rejection` does not know as one."""

CASES = 50
"""Requests of one burst."""

pytestmark = pytest.mark.timeout(SECONDS + 240)


AnyCase = Case[Any]


@attrs.frozen
class Target:
    """A server, the headers of who asks, and memories of which it may have heard."""

    server: HttpServer
    headers: dict[str, str]
    memories: list[str]


@pytest.fixture(params=["open", "authenticated"])
def target(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Target]:
    """A server that is asked by the operator, or by an agent that may not see the hidden memories."""
    if request.param == "open":
        home, settings, headers, hidden = tmp_path / "home", {"TMWS_RATE_LIMIT_ENABLED": "false"}, {}, []
    else:
        world = prepare(tmp_path / "home")
        home, settings, headers, hidden = world.home, world.settings, world.headers, world.hidden
    with http_server(home, **settings) as server:
        server.client.headers.update(headers)
        own = [server.call("create_memory", content=f"own {number}").json()["memory_id"] for number in range(4)]
        yield Target(server, headers, own + hidden)
        assert "Traceback" not in server.stop()


def test_answers_are_those_that_are_described(target: Target) -> None:
    schema = schemathesis.openapi.from_url(f"{target.server.url}/openapi.json", headers=target.headers)
    cases = st.one_of([schema[path].as_strategy(mode) for path in schema for mode in GenerationMode])
    with requests.Session() as session:
        session.trust_env = False
        for seed in bursts():
            burst(target, session, cases, seed)
            target.server.client.get("/health", timeout=HANG).raise_for_status()


def is_valid(case: AnyCase) -> bool:
    """Tell whether a request is as it should be."""
    return case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE


def is_understood(case: AnyCase) -> bool:
    """Tell whether a body that is not as it should be can mean one that is."""
    called = operations().get(case.path.rsplit("/", 1)[-1])
    if called is None or not isinstance(case.body, dict):
        return False
    return bool(
        jsonschema.Draft202012Validator(schema_of(called.request)).is_valid(understood(case.body, called.request))
    )


def burst(target: Target, session: requests.Session, cases: st.SearchStrategy[AnyCase], seed: int) -> None:
    """Ask as many times as a burst has; Hypothesis makes the same cases from the same seed."""

    def probe(case: AnyCase, memory_id: str) -> None:
        body = case.body
        if is_valid(case) and isinstance(body, dict) and "memory_id" in body:
            body["memory_id"] = memory_id
        response = case.call(session=session, headers=target.headers, timeout=HANG)
        shown = f"{response.headers}{response.text}"
        assert not leaks(shown, f"{case.body!r}"), shown
        is_beyond_it = response.status_code == TOO_LARGE or is_understood(case)
        case.validate_response(response, checks=CHECKS if is_beyond_it else [*CHECKS, negative_data_rejection])

    settings = hypothesis.settings(
        max_examples=CASES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    try:
        hypothesis.seed(seed)(settings(given(cases, st.sampled_from(target.memories))(probe)))()
    except BaseException as error:
        error.add_note(f"FUZZ_SEED={seed}")
        raise
