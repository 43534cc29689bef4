"""A replica behind the shells: what the doctor and the health report say of it."""

from pathlib import Path

import pytest

from tests.servers.postgres import GUARDED, PASSWORD
from tests.servers.postgres_replica import kill, pair, port_of, revive
from tests.shells.command import Command
from tests.shells.owners import until
from tests.shells.serving import http_server
from tmws_adapters.settings import load_settings
from tmws_core.errors import ConfigurationError

PGVECTOR = {"TMWS_PORT": "0", "TMWS_VECTOR_BACKEND": "pgvector"}


def test_doctor_and_health_tell_how_far_a_replica_is_and_when_nothing_can_be_stored(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with pair() as servers, servers.primary.database() as url:
        replica = servers.replica_url(url).replace("@", f":{PASSWORD}@")
        wrong = servers.replica.url("postgres", user=GUARDED, password="wrong-secret")
        variables = {"TMWS_DATABASE_URL": url, "TMWS_DATABASE_URL_READ": f"{replica}, {wrong}"}
        names = [f"replica {number} at 127.0.0.1:{port_of(servers.replica)}" for number in (1, 2)]

        done = Command(home).using(**variables, **PGVECTOR).run("doctor", "--json")
        assert "checks" in done.answer, done
        checks = [check for check in done.answer["checks"] if check["name"] in names]
        with http_server(home, **variables) as server:
            stored = server.client.post("/mcp/tools/create_memory", json={"content": "The rose blooms."}).json()
            well = server.client.get("/health").json()
            kill(servers.primary)
            found = server.client.post("/mcp/tools/get_memory", json={"memory_id": stored["memory_id"]})
            until(lambda: "reason" in server.client.get("/health").json()["components"]["postgresql"])
            alone = server.client.get("/health")
            revive(servers.primary)

    assert [check["state"] for check in checks] == ["ok", "warning"]
    assert checks[0]["detail"] == "up, 0 bytes behind the primary"
    assert "refused the user or its password" in checks[1]["detail"]
    assert "TMWS_DATABASE_URL_READ" in checks[1]["remedy"]
    assert PASSWORD not in done.out + done.err
    assert "wrong-secret" not in done.out + done.err
    pool = well["components"]["postgresql"]["pool"]
    assert 0 < pool["in_use"] + pool["idle"] <= pool["limit"] <= 60
    assert found.json()["memory"]["content"] == "The rose blooms."
    assert (alone.status_code, alone.json()["status"]) == (200, "degraded")
    assert "as nothing can be stored" in alone.json()["components"]["postgresql"]["reason"]
    assert "secret" not in alone.text


@pytest.mark.parametrize(
    ("url", "reading", "reason"),
    [
        ("", "postgresql://tmws@127.0.0.1/tmws", "replicas need PostgreSQL"),
        ("postgresql://tmws@127.0.0.1/tmws", "postgres://tmws:a/hidden@127.0.0.1/tmws", "names no PostgreSQL server"),
        ("postgresql://tmws@127.0.0.1/tmws", "mysql://tmws:hidden@127.0.0.1/tmws", "names no PostgreSQL server"),
    ],
)
def test_replicas_that_cannot_be_are_refused(url: str, reading: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as raised:
        load_settings({"TMWS_DATABASE_URL": url, "TMWS_DATABASE_URL_READ": reading}, dotenv=None)

    assert raised.value.field == "TMWS_DATABASE_URL_READ"
    assert "hidden" not in raised.value.message


def test_replicas_are_told_apart_though_one_url_has_several_hosts() -> None:
    several = "postgresql://tmws:a,b@one:5432,two:5432/tmws?sslmode=require"
    settings = load_settings(
        {
            "TMWS_DATABASE_URL": "postgresql://tmws@127.0.0.1/tmws",
            "TMWS_DATABASE_URL_READ": f"{several}, postgres://tmws@three/tmws",
        },
        dotenv=None,
    )

    assert settings.replica_urls == (several, "postgres://tmws@three/tmws")
    assert "a,b" not in repr(settings)
