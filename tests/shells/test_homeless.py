"""Where data goes for users without a home, and for homes named in odd ways."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shells.command import ROOT, SECONDS
from tests.shells.serving import request
from tmws_adapters.local.place import place_at_once
from tmws_adapters.paths import home_directory, located
from tmws_adapters.settings import load_settings
from tmws_core.errors import ConfigurationError

SETPRIV = Path("/usr/bin/setpriv")

AS_NOBODY = [
    str(SETPRIV),
    "--reuid=54321",
    "--regid=54321",
    "--clear-groups",
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
]
"""Begins the words of a process whose user no account has; it reads this program and writes all the same."""

ENTRIES = {
    "stdio": ["-m", "tmws_cli"],
    "command": ["-m", "tmws_cli", "memory", "create", "a note"],
    "server": ["-m", "tmws_cli", "serve", "--port", "0"],
    "doctor": ["-m", "tmws_cli", "doctor"],
    "library": ["-c", "from tmws_adapters.settings import load_settings; load_settings()"],
}


def run(directory: Path, entry: str, *prefix: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*prefix, sys.executable, "-B", *ENTRIES[entry]],
        input=request(1, "ping").decode(),
        capture_output=True,
        text=True,
        check=False,
        cwd=directory,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], **env},
        timeout=SECONDS,
    )


@pytest.mark.skipif(os.geteuid() != 0 or not SETPRIV.exists(), reason="only root becomes another user, by setpriv")
@pytest.mark.parametrize("entry", ENTRIES)
def test_nothing_is_written_for_a_user_without_a_home(tmp_path: Path, entry: str) -> None:
    done = run(tmp_path, entry, *AS_NOBODY)

    assert done.returncode != 0
    assert "TMWS_HOME" in done.stdout + done.stderr
    assert "this user has no home directory" in done.stdout + done.stderr
    assert entry == "library" or "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("entry", ["stdio", "command"])
def test_home_that_is_missing_is_not_made(tmp_path: Path, entry: str) -> None:
    done = run(tmp_path, entry, HOME=str(tmp_path / "missing"))

    assert (done.returncode, "TMWS_HOME" in done.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("home", ["", "relative", "."])
def test_home_that_is_no_path_counts_for_nothing(home: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HOME")
    known = home_directory()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "relative").mkdir()
    monkeypatch.setenv("HOME", home)

    assert home_directory() == known
    assert known is None or located("~/x") == f"{known.rstrip('/')}/x"


@pytest.mark.parametrize("name", ["TMWS_HOME", "TMWS_ONNX_MODEL_DIR", "TMWS_LOG_FILE"])
def test_path_that_leads_nowhere_is_refused_by_its_setting(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_settings({"TMWS_HOME": str(tmp_path), name: "~nobody-of-this-name/x"}, dotenv=None)

    assert raised.value.setting == name


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("${HOME}/x", "${HOME}"),
        ("/data/${USER:-ada}.db", "${USER:-ada}"),
        ("$HOME/x", "$HOME"),
        ("%USERPROFILE%\\x", "%USERPROFILE%"),
    ],
)
def test_what_nothing_has_expanded_is_refused_by_its_setting(
    value: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for setting, given in {
        "TMWS_HOME": value,
        "TMWS_LOG_FILE": value,
        "TMWS_ENV_FILE": value,
        "TMWS_SECRET_KEY_FILE": value,
        "TMWS_DATABASE_URL": f"sqlite:///{value}",
        "TMWS_REDIS_URL": f"redis://{value}",
    }.items():
        with pytest.raises(ConfigurationError) as raised:
            load_settings({"TMWS_HOME": str(tmp_path), setting: given})
        assert (raised.value.setting, f"holds {name}," in raised.value.reason) == (setting, True)
    assert place_at_once({"TMWS_HOME": value}) is None
    assert place_at_once({"TMWS_DATABASE_URL": f"sqlite:///{value}"}) is None


@pytest.mark.parametrize("name", ["TMWS_DATABASE_URL", "TMWS_REDIS_URL"])
def test_what_may_be_a_part_of_a_password_is_not_shown(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_settings({"TMWS_HOME": str(tmp_path), name: "postgresql://ada:top${secret}part@host/tmws"}, dotenv=None)

    assert raised.value.setting == name
    assert "secret" not in str(raised.value)


def test_signs_of_other_meaning_are_no_names(tmp_path: Path) -> None:
    url = "postgresql://ada:pa$word@host/%C3%89tage%20$"
    assert load_settings({"TMWS_HOME": str(tmp_path / "a$b%c%"), "TMWS_DATABASE_URL": url}).database_url == url


def test_data_directory_may_be_named_by_a_tilde_or_from_where_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    assert load_settings({"TMWS_HOME": "~/data"}).home == tmp_path / "data"
    assert load_settings({"TMWS_HOME": "data"}).home == tmp_path / "data"
    assert load_settings({"TMWS_HOME": "~"}).home == tmp_path
    assert load_settings({}).home == tmp_path / ".tmws"
    assert load_settings({"TMWS_DATABASE_URL": "sqlite:///~/x.db"}).sqlite_path == tmp_path / "x.db"
