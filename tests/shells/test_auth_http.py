"""Who may call over HTTP, by what proof, and what everybody else is told."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.shells.guarded import (
    AGENTS,
    GUARDED,
    SECRET,
    Guarded,
    bearer,
    change_agent,
    elsewhere,
    guarded_server,
    issue_key,
    issue_token,
    refused,
    revoke,
    signed,
)
from tests.shells.owners import until
from tests.shells.serving import PATIENCE, http_server, request
from tests.stacks import rows, settings_in
from tmws_core.domain.credential import written_key
from tmws_core.messages.memory import ALL
from tmws_core.services.authentication import CREDENTIAL_BYTES

WHOLE = {"max_chars": ALL, "details": True}
"""What a page is to tell, so that all of it is looked at."""

ALGORITHM = "The token is not signed with an algorithm that is accepted here"
UNKNOWN_KEY = "There is no such API key"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded_server(tmp_path_factory.mktemp("guarded") / "home") as running:
        yield running
        log = running.server.stop()
        assert "Traceback" not in log
        assert not [key for key in running.keys.values() if key in log]


@pytest.mark.parametrize("agent_id", AGENTS)
def test_key_is_who_its_agent_is_registered_as(guarded: Guarded, agent_id: str) -> None:
    answer = guarded.call(agent_id, "get_current_agent").json()
    namespace, role = AGENTS[agent_id]
    assert (answer["agent_id"], answer["namespace"], answer["role"]) == (agent_id, namespace, role.value)
    assert answer["transport"] == "rest"


def test_token_is_as_good_as_a_key(guarded: Guarded) -> None:
    for token in (issue_token(guarded.home, "ada"), signed()):
        assert guarded.try_(token).json()["agent_id"] == "ada"


@pytest.mark.parametrize("header", ["bearer {}", "BEARER {}", "Bearer   {}"])
def test_scheme_is_read_as_http_has_it(guarded: Guarded, header: str) -> None:
    sent = elsewhere() | {"authorization": header.format(guarded.keys["ada"])}
    assert guarded.post("/mcp/tools/get_current_agent", sent).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/mcp/tools/search_memories"),
        ("POST", "/mcp/tools/no_such_operation"),
        ("POST", "/mcp"),
        ("GET", "/mcp"),
        ("DELETE", "/mcp"),
        ("OPTIONS", "/mcp"),
        ("GET", "/no/such/route"),
        ("GET", "/health/live/"),
        ("GET", "//health/live"),
        ("GET", "/mcp/"),
        ("GET", "/"),
    ],
)
def test_nothing_is_told_to_strangers(guarded: Guarded, method: str, path: str) -> None:
    refused(guarded.server.client.request(method, path, headers=elsewhere()))


JSON = {"content-type": "application/json"}


def test_a_slash_behind_mcp_changes_nothing(guarded: Guarded) -> None:
    plain, slashed = (
        guarded.server.client.post(path, content=request(1, "tools/list"), headers=bearer(guarded.keys["ada"]) | JSON)
        for path in ("/mcp", "/mcp/")
    )
    assert (slashed.status_code, slashed.json()) == (200, plain.json())
    stranger = guarded.server.client.post("/mcp/", content=request(1, "tools/list"), headers=elsewhere() | JSON)
    assert stranger.status_code == 401
    assert "/.well-known/oauth-protected-resource/mcp" in stranger.headers["www-authenticate"]


def test_no_answer_names_a_host_that_a_request_has_made_up(guarded: Guarded) -> None:
    answer = guarded.post("/mcp/tools/get_current_agent/", bearer(guarded.keys["ada"]) | {"host": "evil.example"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_route")
    assert "no path ends with a slash" in answer.json()["error"]["message"]
    assert "location" not in answer.headers


@pytest.mark.parametrize("header", ["Basic YWRhOmFkYQ==", "Bearer", "bearertmws_x", "Token x", "", "Bearer\ttmws_x"])
def test_header_without_a_bearer_credential_is_none(guarded: Guarded, header: str) -> None:
    refused(guarded.post("/mcp/tools/get_current_agent", {"authorization": header}))


def test_credentials_count_in_their_header_only(guarded: Guarded) -> None:
    key = guarded.keys["ada"]
    for path in (f"/mcp/tools/get_current_agent?access_token={key}", f"/mcp?token={key}"):
        refused(guarded.post(path, {"x-api-key": key, "cookie": f"token={key}"}, {"access_token": key}))


def test_second_authorization_header_is_refused(guarded: Guarded) -> None:
    key = guarded.keys["ada"]
    twice = [("authorization", f"Bearer {key}"), ("authorization", f"Bearer {guarded.keys['bob']}")]
    answer = guarded.server.client.post("/mcp/tools/get_current_agent", headers=[*elsewhere().items(), *twice], json={})
    refused(answer)


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (signed(exp=1), "The token has expired"),
        (signed(nbf=2**40), "The token is not valid yet"),
        (signed(iat=2**40), "The token is not valid yet"),
        (signed(aud="https://other.example"), "The token is for another audience"),
        (signed(iss="other"), "The token is from another issuer"),
        (signed(algorithm=None, key=None), ALGORITHM),
        (signed(algorithm="HS384", key=SECRET * 2), ALGORITHM),
        (signed(key="another secret key, which is long, too"), "The signature of the token is wrong"),
        (signed()[:-3] + "AAA", "The signature of the token is wrong"),
        (signed(jti=None), "The token lacks the claim jti"),
        (signed(sub=None), "The token lacks the claim sub"),
        (signed(exp=None), "The token lacks the claim exp"),
        (signed(padding="x" * CREDENTIAL_BYTES), f"The credential is longer than {CREDENTIAL_BYTES} bytes"),
        (signed(sub="\ud800"), "The token is malformed"),
        (signed(jti="t\udfff"), "The token is malformed"),
        (signed(sub="a\x00b"), "The token is malformed"),
        (signed(exp=float("inf")), "The token is malformed"),
        (signed(sub="nobody"), "The agent of this token is not registered"),
        (signed(sub="ada' OR 1=1 --"), "The agent of this token is not registered"),
        ("a.b.c", "The token is malformed"),
        ("nonsense", "The credential is neither an API key nor a token"),
        ("sk-0123456789", "The credential is neither an API key nor a token"),
        ("tmws_", "The API key is mistyped"),
        (written_key("0" * 16, bytes(32)), UNKNOWN_KEY),
    ],
)
def test_bad_credential_is_refused_with_a_reason_of_its_own(guarded: Guarded, token: str, reason: str) -> None:
    refused(guarded.try_(token), reason)


def test_foreign_algorithm_is_refused(guarded: Guarded) -> None:
    foreign = jwt.encode({"sub": "ada"}, ec.generate_private_key(ec.SECP256R1()), "ES256")
    refused(guarded.try_(foreign), ALGORITHM)


def test_key_with_another_prefix_checksum_or_secret_is_refused(guarded: Guarded) -> None:
    key = guarded.keys["ada"]
    key_id = key.split("_")[1]
    refused(guarded.try_(key.replace("tmws_", "acme_")), "The credential is neither an API key nor a token")
    refused(guarded.try_(key[:-1] + ("0" if key[-1] != "0" else "1")), "The API key is mistyped")
    refused(guarded.try_(written_key(key_id, bytes(32))), UNKNOWN_KEY)
    refused(guarded.try_(key.upper().replace("TMWS", "tmws")), "The API key is mistyped")


def test_unknown_key_and_wrong_secret_are_told_in_the_same_words(guarded: Guarded) -> None:
    key_id = guarded.keys["ada"].split("_")[1]
    wrong = guarded.try_(written_key(key_id, bytes(32))).json()["error"]
    unknown = guarded.try_(written_key("0" * 16, bytes(32))).json()["error"]
    assert wrong | {"request_id": ""} == unknown | {"request_id": ""}


def test_expired_key_is_refused(guarded: Guarded) -> None:
    refused(guarded.try_(issue_key(guarded.home, "ada", timedelta(microseconds=1))), "The API key has expired")


def test_revoked_credentials_end_at_once(guarded: Guarded) -> None:
    for issue, reason in ((issue_key, "The API key was revoked"), (issue_token, "The token was revoked")):
        credential = issue(guarded.home, "ada")
        assert guarded.try_(credential).status_code == 200
        revoke(guarded.home, credential)
        refused(guarded.try_(credential), reason)


def test_deactivated_agent_is_kept_out_and_told_why(guarded: Guarded) -> None:
    change_agent(guarded.home, "ann", active=False)
    try:
        for credential in (guarded.keys["ann"], issue_token_of_inactive()):
            answer = guarded.try_(credential)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "agent_inactive")
            assert "www-authenticate" not in answer.headers
    finally:
        change_agent(guarded.home, "ann", active=True)
    assert guarded.call("ann", "get_current_agent").status_code == 200


def issue_token_of_inactive() -> str:
    return signed(sub="ann")


def test_role_and_namespace_are_those_of_the_registry(guarded: Guarded) -> None:
    token = signed(sub="rita", role="admin", namespace="globex", permissions=["system:administer"])
    who = guarded.try_(token).json()
    assert (who["namespace"], who["role"]) == ("acme", "reader")
    answer = guarded.post("/mcp/tools/create_memory", bearer(token), {"content": "Not mine to write"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


def test_agent_id_of_somebody_else_is_forbidden_in_a_body(guarded: Guarded) -> None:
    for name, more in (("create_memory", {"content": "In your name"}), ("get_memory_stats", {})):
        answer = guarded.call("ada", name, agent_id="bob", **more)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
        assert answer.json()["error"]["field"] == "agent_id"
        assert guarded.call("root", name, agent_id="bob", **more).status_code == 200
        assert guarded.call("ada", name, agent_id="ada", **more).status_code == 200


def test_agents_of_two_namespaces_do_not_see_each_other(guarded: Guarded) -> None:
    text = "The lighthouse keeper of acme counts gulls at dusk"
    for level in ("private", "team"):
        answer = guarded.call("ada", "create_memory", content=f"{text} ({level})", access_level=level).json()
        unseen = guarded.call("bob", "get_memory", memory_id=answer["memory_id"])
        assert (unseen.status_code, unseen.json()["error"]["code"]) == (404, "not_found")
        assert guarded.call("ada", "get_memory", memory_id=answer["memory_id"]).status_code == 200
    assert "lighthouse" not in guarded.call("bob", "search_memories", query="lighthouse keeper gulls", **WHOLE).text
    assert "lighthouse" not in guarded.call("bob", "list_memories", limit=100, **WHOLE).text
    assert "(team)" in guarded.call("ann", "list_memories", limit=100, **WHOLE).text
    assert "(private)" not in guarded.call("ann", "list_memories", limit=100, **WHOLE).text


def test_foreign_origin_is_refused_with_a_good_key_too(guarded: Guarded) -> None:
    headers = bearer(guarded.keys["ada"]) | {"origin": "http://evil.example"}
    assert guarded.post("/mcp/tools/get_current_agent", headers).status_code == 403


def test_repeated_failures_lock_wrong_credentials_of_an_address_out_and_no_good_one(guarded: Guarded) -> None:
    thief, fresh = elsewhere(), issue_key(guarded.home, "ada")
    key_id = guarded.keys["ada"].split("_")[1]
    statuses = [guarded.try_(written_key(key_id, bytes(32)), thief).status_code for _ in range(12)]
    assert statuses == [401] * 5 + [429] * 7
    for wrong in (written_key("0" * 16, bytes(32)), "a.b.c", signed(exp=1)):
        locked = guarded.try_(wrong, thief)
        assert (locked.status_code, locked.json()["error"]["code"]) == (429, "locked_out")
        assert int(locked.headers["retry-after"]) >= 1
    for good in (guarded.keys["ada"], guarded.keys["bob"], fresh, issue_token(guarded.home, "rita")):
        assert guarded.try_(good, thief).status_code == 200
    assert guarded.try_(written_key("0" * 16, bytes(32))).status_code == 401
    refused(guarded.post("/mcp/tools/get_current_agent", thief))


def test_attempts_are_in_the_audit_log_without_the_credentials(guarded: Guarded) -> None:
    key, token, address = issue_key(guarded.home, "bob"), issue_token(guarded.home, "bob"), elsewhere()
    guarded.try_(key, address)
    guarded.try_(token, address)
    guarded.try_(key[:-1], address)
    guarded.try_(signed(exp=1), address)
    revoke(guarded.home, key)
    guarded.try_(key, address)
    where = {"address": address["x-forwarded-for"], "transport": "rest"}
    key_id = key.split("_")[1]

    def noted(event_type: str) -> list[dict[str, object]]:
        return [row for row in guarded.audited(event_type) if row.items() >= where.items()]

    until(lambda: len(noted("authentication.failed")) == 3)
    by_key, by_token = noted("authentication.succeeded")
    assert by_key == where | {"by": "bob", "method": "api_key", "key_id": key_id}
    assert by_token.items() >= {"by": "bob", "method": "token", "issuer": "tmws"}.items()
    assert by_token["token_id"]
    assert noted("authentication.failed") == [
        where | {"by": "-", "reason": "The API key is mistyped"},
        where | {"by": "-", "reason": "The token has expired"},
        where | {"by": "-", "reason": "The API key was revoked", "key_id": key_id},
    ]
    assert {"agent": "bob", "key_id": key_id, "transport": "python", "by": "default-agent"} in guarded.audited(
        "api_key.issued"
    )
    assert key_id in [row["key_id"] for row in guarded.audited("api_key.revoked")]
    assert by_token["token_id"] in [row["token_id"] for row in guarded.audited("token.issued")]
    log = json.dumps([guarded.audited(name) for name in ("authentication.failed", "authentication.succeeded")])
    assert "eyJ" not in log
    assert key[:30] not in log


def test_former_secret_keeps_tokens_good_and_a_new_one_alone_ends_them(home: Path) -> None:
    new = "another secret key, which is long, too"
    token = issue_token(home, "ada")
    key = issue_key(home, "ada")
    rotated = GUARDED | {"TMWS_SECRET_KEY": new}
    for more, status in (
        ({"TMWS_SECRET_KEY_PREVIOUS": SECRET}, 200),
        ({"TMWS_SECRET_KEY_PREVIOUS": SECRET, "TMWS_SECRET_KEY_PREVIOUS_UNTIL": "2099-01-01T00:00:00Z"}, 200),
        ({"TMWS_SECRET_KEY_PREVIOUS": SECRET, "TMWS_SECRET_KEY_PREVIOUS_UNTIL": "2026-01-01T00:00:00Z"}, 401),
        ({}, 401),
    ):
        with http_server(home, **rotated, **more) as server:
            for credential, expected in ((token, status), (key, 200)):
                answer = server.client.post("/mcp/tools/get_current_agent", headers=bearer(credential), json={})
                assert answer.status_code == expected
            server.stop()


def test_guarded_server_listens_everywhere_under_any_name(home: Path) -> None:
    key = issue_key(home, "ada")
    with http_server(home, **GUARDED, TMWS_HOST="0.0.0.0", TMWS_PUBLIC_URL="https://tmws.example.com/") as server:
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        headers = {"host": "memory.internal"}
        with httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False, headers=headers) as client:
            answer = client.post("/mcp/tools/get_current_agent", headers=bearer(key), json={})
            assert answer.json()["agent_id"] == "ada"
            stranger = client.post("/mcp", json={})
            assert 'resource_metadata="https://tmws.example.com/.well-known/' in stranger.headers["www-authenticate"]
            described = client.get("/.well-known/oauth-protected-resource/mcp").json()
            assert described["resource"] == "https://tmws.example.com/mcp"
        log = server.stop()
    assert "Authentication: API keys and tokens" in log
    assert "No authentication" not in log


def test_last_use_of_a_key_is_known_when_the_server_has_stopped(home: Path) -> None:
    with guarded_server(home) as guarded:
        guarded.call("ada", "get_current_agent")
        guarded.server.stop()
    stored = rows(settings_in(home), "SELECT agent_id, last_used_at IS NOT NULL FROM api_keys")
    used = {agent_id: bool(ever) for agent_id, ever in stored}
    assert used == dict.fromkeys(AGENTS, False) | {"ada": True}
