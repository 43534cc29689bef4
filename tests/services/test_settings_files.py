"""Which files settings are read from, and what may be in them."""

import os
import stat
from pathlib import Path

import pytest

from tmws_adapters.local.place import place_at_once
from tmws_adapters.settings import Settings, load_settings, merged_variables
from tmws_core.errors import ConfigurationError, InvalidField


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory, beside a working directory."""
    home = tmp_path / "data"
    home.mkdir(mode=0o700)
    elsewhere = tmp_path / "cloned"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return home


def load(home: Path, **given: str) -> Settings:
    return load_settings({"TMWS_HOME": str(home), **given})


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(0o600)
    return path


def refusal(home: Path, **given: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as raised:
        load(home, **given)
    return raised.value


def test_a_file_in_the_working_directory_is_ignored(home: Path) -> None:
    write(Path(".env"), "TMWS_OLLAMA_BASE_URL=http://stranger.example\nTMWS_AUDIT_LOG_ENABLED=false\nTMWS_TYPO=1\n")

    settings = load(home)

    assert (settings.ollama_base_url, settings.audit_log_enabled, settings.files) == ("", True, ())
    assert place_at_once({"TMWS_HOME": str(home)}) is not None


def test_files_are_read_in_their_order_and_the_later_ones_win(home: Path, tmp_path: Path) -> None:
    write(home / ".env", "TMWS_AGENT_ID=in-home\nTMWS_PORT=1\nTMWS_HOST=home\nOTHER=1\n")
    named = write(tmp_path / "named", "TMWS_AGENT_ID=in-named\nTMWS_PORT=2\n")

    settings = load(home, TMWS_ENV_FILE=str(named), TMWS_AGENT_ID="in-environment")

    assert (settings.host, settings.port, settings.agent_id) == ("home", 2, "in-environment")
    assert settings.files == (home / ".env", named)


def test_a_flag_names_a_file_as_the_environment_does(home: Path, tmp_path: Path) -> None:
    named = write(tmp_path / "named", f"TMWS_HOME={home}\nTMWS_PORT=2\n")
    write(home / ".env", "TMWS_HOST=home\n")

    settings = load_settings({"TMWS_ENV_FILE": "no-such-file"}, flags={"TMWS_ENV_FILE": str(named)})

    assert (settings.home, settings.host, settings.port) == (home, "home", 2)


def test_nothing_is_expanded(home: Path) -> None:
    write(home / ".env", "TMWS_HOST=${PATH}\nTMWS_AGENT_NAMESPACE='a'\n")

    assert load(home).host == "${PATH}"


def test_the_name_of_the_file_reaches_nobody_else(home: Path, tmp_path: Path) -> None:
    named = write(tmp_path / "named", "TMWS_PORT=2\n")

    merged = merged_variables({"TMWS_HOME": str(home), "TMWS_ENV_FILE": str(named)})

    assert merged == {"TMWS_HOME": str(home), "TMWS_PORT": "2"}
    assert load_settings({"TMWS_ENV_FILE": str(named)}, dotenv=None).port == 8000


@pytest.mark.parametrize("line", ["TMWS_HOME=/elsewhere", "TMWS_ENV_FILE=more", "TMWS_HOME_FILE=where"])
def test_the_file_in_the_data_directory_does_not_say_where_that_is(home: Path, line: str) -> None:
    write(home / ".env", f"{line}\n")

    error = refusal(home)

    assert line.partition("=")[0] in error.reason
    assert "environment" in error.remedy


def test_the_file_in_the_data_directory_may_repeat_where_it_is(home: Path) -> None:
    write(home / ".env", f"TMWS_HOME={home}\n")

    assert load(home).home == home


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffTMWS_PORT=9\n".encode(),
        b"TMWS_PORT=9\r\nTMWS_HOST=x\r\n",
        b"TMWS_PORT=9\rTMWS_HOST=x\r",
        b"export TMWS_PORT='9' # a comment\nNOT_OURS\n",
        b"\n\n# nothing\nTMWS_PORT = 9",
    ],
    ids=["BOM", "CRLF", "CR", "export", "no line end"],
)
def test_text_of_any_editor_is_understood(home: Path, content: bytes) -> None:
    write(home / ".env", content)

    assert load(home).port == 9


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"TMWS_AGENT_ID=\xff\n", "UTF-8"),
        ("TMWS_PORT=9\n".encode("utf-16"), "UTF-8"),
        (b"TMWS_AGENT_ID=a\0b\n", "NUL"),
        (b"TMWS_PORT=9\nTMWS_HOST='unclosed\n", "line 2"),
        (b"#" * 1_100_000, "bytes"),
    ],
    ids=["one byte", "UTF-16", "NUL", "unclosed", "too large"],
)
def test_what_is_no_text_of_settings_is_refused_with_a_sentence(home: Path, content: bytes, reason: str) -> None:
    write(home / ".env", content)

    error = refusal(home)

    assert str(home / ".env") in error.problem
    assert reason in error.reason
    assert error.remedy


def directory(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [directory, pipe, device])
def test_what_is_no_file_is_refused_and_not_waited_for(home: Path, tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(home / ".env")
    assert "no regular file" in refusal(home).reason
    (home / ".env").rename(tmp_path / "named")

    assert "no regular file" in refusal(home, TMWS_ENV_FILE=str(tmp_path / "named")).reason


def test_a_link_to_nothing_is_no_file(home: Path) -> None:
    dangling(home / ".env")

    assert load(home).files == ()


def test_a_file_that_is_named_has_to_be_there(home: Path) -> None:
    assert "cannot be read" in refusal(home, TMWS_ENV_FILE="no-such-file").reason


def test_a_file_that_every_user_can_write_is_refused_unless_it_is_named(home: Path) -> None:
    file = write(home / ".env", "TMWS_PORT=9\n")
    file.chmod(0o666)
    assert "every user" in refusal(home).reason
    named = file.rename(home / "named.env")

    assert load(home, TMWS_ENV_FILE=str(named)).port == 9


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_is_refused_unless_it_is_named(home: Path) -> None:
    file = write(home / ".env", "TMWS_PORT=9\n")
    os.chown(file, 65534, 65534)
    assert "another user" in refusal(home).reason
    named = file.rename(home / "named.env")

    assert load(home, TMWS_ENV_FILE=str(named)).port == 9
    assert stat.S_IMODE(named.stat().st_mode) == 0o600


def test_agent_terminals_do_not_go_past_the_file_in_the_data_directory(home: Path) -> None:
    write(home / ".env", "TMWS_PORT=9\n")

    assert place_at_once({"TMWS_HOME": str(home)}) is None
    assert place_at_once({"TMWS_HOME": "elsewhere", "TMWS_ENV_FILE": "named"}) is None


def test_an_agent_is_called_by_its_name_and_comes_by_a_way_that_there_is(home: Path) -> None:
    settings = load(home, TMWS_AGENT_ID="athena", TMWS_AGENT_NAMESPACE="acme")
    for caller, agent_id in (settings.agent(), "athena"), (settings.agent("ana"), "ana"):
        assert (caller.agent_id, caller.namespace, caller.transport) == (agent_id, "acme", "python")
    for wrong in "", "no name":
        with pytest.raises(InvalidField, match="agent_id"):
            settings.agent(wrong)
    with pytest.raises(InvalidField, match=r"transport: 'ana' is no way in\. Choose one of: cli, file, mcp-http"):
        settings.agent(transport="ana")  # type: ignore[arg-type] # what a program without a type checker gives
