"""The command line as a real process, in a home and a directory of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.licences import UNLIMITED
from tests.stacks import stacked

ROOT = Path(__file__).parents[2]

SECONDS = 120
"""How long one command may take on a busy machine."""


@attrs.frozen
class Done:
    """A process that ended."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        """Return the JSON object on stdout."""
        answer: dict[str, Any] = json.loads(self.out)
        return answer


@attrs.frozen
class Command:
    """Runs `tmws` with no TMWS_ or PYTHON variable but its own, an unlimited licence, and warnings as errors."""

    directory: Path
    env: Mapping[str, str] = attrs.field(factory=dict)
    prefix: Sequence[str] = ()

    @property
    def home(self) -> Path:
        """Return the data directory."""
        return self.directory / "home"

    def using(self, **env: str) -> "Command":
        """Return the same command with more environment."""
        return attrs.evolve(self, env={**self.env, **env})

    def run(self, *arguments: str, stdin: str | bytes = b"") -> Done:
        """Run to the end."""
        raw = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            self._words(arguments), input=raw, capture_output=True, check=False, timeout=SECONDS, **self._place()
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def ok(self, *arguments: str, stdin: str | bytes = b"") -> Done:
        """Run to the end, and fail the test unless the exit code is 0."""
        done = self.run(*arguments, stdin=stdin)
        assert done.code == 0, done
        return done

    def start(
        self, *arguments: str, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.PIPE
    ) -> "subprocess.Popen[str]":
        """Start without waiting; the caller ends it."""
        return subprocess.Popen(
            self._words(arguments),
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            **self._place(),
        )

    def _words(self, arguments: Sequence[str]) -> list[str]:
        return [*self.prefix, sys.executable, "-m", "tmws_cli", *arguments]

    def _place(self) -> dict[str, Any]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TMWS_", "PYTHON"))}
        own = {"TMWS_HOME": str(self.home), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
        own |= {"TMWS_OWNER_IDLE_SECONDS": "0", **UNLIMITED}
        return {"cwd": self.directory, "env": {**inherited, **stacked({**own, **self.env})}}


def without_the_rights_of_root(command: Command) -> Command:
    """Return the command as a process for which the modes of files count."""
    if os.geteuid() != 0:
        return command
    if not Path("/usr/bin/setpriv").exists():
        pytest.skip("root may write everywhere, and setpriv is not installed")
    return attrs.evolve(command, prefix=("/usr/bin/setpriv", "--bounding-set", "-dac_override,-dac_read_search"))
