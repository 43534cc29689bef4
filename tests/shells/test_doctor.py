"""The doctor says what is wrong, and goes on looking."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.shells.command import Command, Done, without_the_rights_of_root
from tests.shells.inside import Inside
from tests.shells.serving import http_server
from tests.stacks import PRODUCTION
from tmws_adapters.onnx.files import find_files


def states(done: Done) -> dict[str, str]:
    return {check["name"]: check["state"] for check in done.answer["checks"]}


def check_named(done: Done, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(check for check in done.answer["checks"] if check["name"] == name)
    return found


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


@pytest.mark.embedded("there is no file yet")
def test_doctor_creates_nothing(tmp_path: Path) -> None:
    done = Inside(tmp_path).using(TMWS_PORT=free_port()).ok("doctor")
    assert all(line.startswith("✅ ") for line in done.out.splitlines()), done.out
    assert "there is none yet" in done.out
    assert not (tmp_path / "home").exists()


def test_doctor_reads_the_whole_database_if_it_is_asked_to(tmp_path: Path) -> None:
    command = Inside(tmp_path).using(TMWS_PORT=free_port())
    command.ok("memory", "create", "one")
    unsigned = command.ok("doctor", "--deep", "--json")
    assert check_named(unsigned, "audit log")["state"] == "warning"
    command.ok("audit", "sign")
    done = command.ok("doctor", "--deep", "--json")
    assert done.answer["success"] is True
    assert set(states(done).values()) == {"ok"}
    store = {"database", "integrity", "audit log", "vectors", "licence", "embedder"}
    shared = {"redis"} if PRODUCTION else set()
    assert {"versions", "settings", "home directory", "owner process", "port"} | store | shared == set(states(done))
    assert "1 memory" in check_named(done, "database")["detail"]


@pytest.mark.embedded("the file is damaged")
def test_one_broken_part_does_not_hide_another(tmp_path: Path) -> None:
    command = Inside(tmp_path)
    command.home.mkdir()
    (command.home / "tmws.db").write_bytes(b"\x00garbage" * 1000)
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.onnx").write_bytes(b"tampered")
    (model / "tokenizer.json").write_text("{}", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment = {
            "TMWS_ONNX_MODEL_DIR": str(model),
            "TMWS_PORT": str(taken.getsockname()[1]),
            "TMWS_ENABLE_METRICS": "true",
            "TMWS_REDIS_URL": "redis://:hunter2@no-such-host.invalid",
        }
        done = command.using(**environment).run("doctor", "--json")
    assert (done.code, done.answer["success"]) == (1, False)
    assert states(done) == {
        "versions": "ok",
        "settings": "warning",
        "home directory": "ok",
        "owner process": "ok",
        "database": "broken",
        "licence": "ok",
        "embedder": "broken",
        "redis": "broken",
        "port": "warning",
    }
    assert "TMWS_ENABLE_METRICS" in check_named(done, "settings")["detail"]
    assert "no-such-host.invalid" in check_named(done, "redis")["detail"]
    assert "TMWS_REDIS_URL" in check_named(done, "redis")["remedy"]
    assert "hunter2" not in str(done)
    assert "model" in check_named(done, "embedder")["detail"]
    assert "TMWS_ONNX_MODEL_DIR" in check_named(done, "embedder")["remedy"]


def test_missing_model_and_waiting_texts_are_told_with_remedies(tmp_path: Path) -> None:
    command = Inside(tmp_path).using(TMWS_ONNX_MODEL_DIR="missing", TMWS_PORT=free_port())
    lines = "\n".join(json.dumps({"content": content}) for content in ("one", "two"))
    command.ok("memory", "create-batch", "-", stdin=lines)
    done = command.run("doctor")
    assert done.code == 1
    assert "⚠️ vectors: 2 texts wait for a vector, of which the oldest was stored or changed at 2" in done.out
    assert "❌ embedder: " in done.out
    assert "is missing → Put an exported sentence embedding model there" in done.out


def test_store_of_another_model_is_told(tmp_path: Path) -> None:
    command = Inside(tmp_path)
    command.ok("memory", "create", "one")
    other = tmp_path / "other-model"
    other.mkdir()
    files = find_files(None)
    for file in (files.weights, files.tokenizer):
        (other / file.path.name).symlink_to(file.path)
    done = command.using(TMWS_ONNX_MODEL_DIR=str(other), TMWS_PORT=free_port()).run("doctor", "--json")
    assert (done.code, states(done)["database"]) == (1, "ok")
    assert files.name in check_named(done, "embedder")["detail"]
    assert "other-model" in check_named(done, "embedder")["detail"]


@pytest.mark.embedded("a server of a shared database owns no directory")
def test_port_of_the_server_that_answers_is_no_warning(tmp_path: Path) -> None:
    command = Inside(tmp_path)
    command.home.mkdir(mode=0o700)
    with http_server(command.home) as server:
        port = server.url.rpartition(":")[2]
        done = command.using(TMWS_PORT=port).run("doctor", "--json")
    assert f"serves {server.url}" in check_named(done, "owner process")["detail"]
    found = check_named(done, "port")
    assert (found["state"], found["detail"]) == ("ok", f"{port} is that of the process above")


def test_home_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    command = Inside(tmp_path)
    command.home.mkdir(mode=0o555)
    done = without_the_rights_of_root(command).run("doctor", "--json")
    assert (done.code, states(done)["home directory"], states(done)["embedder"]) == (1, "broken", "ok")


def test_unknown_setting_is_told(tmp_path: Path) -> None:
    done = Inside(tmp_path).using(TMWS_PROT="1").run("doctor", "--json")
    assert done.code == 1
    assert check_named(done, "settings")["remedy"] == "Did you mean TMWS_PORT?"
    assert check_named(done, "everything else")["detail"] == "not looked at"


def test_files_with_settings_are_named_and_a_strangers_is_ignored(tmp_path: Path) -> None:
    command = Inside(tmp_path).using(TMWS_PORT=free_port())
    command.home.mkdir(mode=0o700)
    (command.home / ".env").write_text("TMWS_AGENT_ID=athena\n", encoding="utf-8")
    (tmp_path / ".env").write_text("TMWS_AGENT_ID=stranger\n", encoding="utf-8")
    detail = check_named(command.run("doctor", "--json"), "settings")["detail"]
    assert f"agent athena in default; from {command.home}/.env and the environment; .env in the working" in detail
    assert "ignored" in detail


def test_certificates_that_are_gone_break_the_part_that_needs_them_and_nothing_else(tmp_path: Path) -> None:
    command = Command(tmp_path).using(SSL_CERT_FILE=str(tmp_path / "gone.pem"), TMWS_PORT=free_port())
    done = command.using(TMWS_OLLAMA_BASE_URL="https://127.0.0.1:1").run("doctor", "--json")
    assert [name for name, state in states(done).items() if state == "broken"] == ["embedder"]
    check = check_named(done, "embedder")
    assert "gone.pem, which SSL_CERT_FILE names, cannot be used" in check["detail"]
    assert "Unset SSL_CERT_FILE" in check["remedy"]
