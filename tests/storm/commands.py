"""The command line in a storm: imports and exports that are killed now and then, and what looks after the store."""

import json
import random
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from tests.shells.serving import environment
from tests.storm.acting import Agent, Gate, wire
from tests.storm.model import HOSTILE, OPERATOR, SPACES, Kept, Model
from tests.storm.processes import command_line
from tests.storm.ways import STUCK

PAUSE = 2.0
"""Seconds between two commands, at most."""

UNPROVEN = 5
"""The exit code of `audit verify` before anything was signed."""


@attrs.frozen
class Done:
    """A command that has ended; `code` is None where it was killed."""

    code: int | None
    out: str
    err: str

    @property
    def body(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(self.out.splitlines()[-1])
        return found


@attrs.define(eq=False)
class Commands:
    """Runs `tmws` on a data directory."""

    home: Path
    settings: Mapping[str, str]
    model: Model
    chance: random.Random

    def run(self, *arguments: str, seconds: float = STUCK, **names: str) -> Done:
        """Run a command, and kill it after so many seconds; it hangs where these are all that one may take."""
        process = subprocess.Popen(
            command_line(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.home,
            env=environment(self.home, **self.settings, **names),
        )
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            if seconds == STUCK:
                self.model.violate("stuck", f"tmws {' '.join(arguments)} does not end")
            process.kill()
            out, err = process.communicate()
            self.model.count("commands killed")
            return Done(None, out.decode(errors="replace"), err.decode())
        self.model.count("commands")
        if b"Traceback" in err:
            self.model.violate("refused", f"tmws {' '.join(arguments)}: {err.decode()[-1500:]}")
        return Done(process.returncode, out.decode(), err.decode())

    def loop(self, gate: Gate, drafting: Mapping[str, Agent]) -> None:
        """Import, export and look after the store, until all is over."""
        while gate.passes():
            match self.chance.randrange(3):
                case 0:
                    self.store(drafting)
                case 1:
                    self.export()
                case _:
                    self.look()
            time.sleep(self.chance.uniform(0, PAUSE))

    def store(self, drafting: Mapping[str, Agent]) -> None:
        """Import a file, and again where the first time was cut short: nothing is stored twice."""
        agent = self.chance.choice([name for name in SPACES if name != HOSTILE])
        drafts = dict(drafting[agent].draft() for _ in range(self.chance.randrange(1, 40)))
        every = [self.model.create(agent, {token: state})[0] for token, state in drafts.items()]
        file = self.home / f"import-{every[0].token}.jsonl"
        file.write_text("".join(json.dumps(wire(state)) + "\n" for state in drafts.values()), encoding="utf-8")
        names: dict[str, Any] = {"TMWS_AGENT_ID": agent, "TMWS_AGENT_NAMESPACE": SPACES[agent]}
        arguments = "import", "--as-exported", "--json", str(file)
        done = self.run(*arguments, seconds=self.chance.choice((self.chance.uniform(0.2, 2), STUCK)), **names)
        if done.code != 0:
            done = self.run(*arguments, **names)
        self.settle(every, done)
        file.unlink()

    def settle(self, every: list[Kept], done: Done) -> None:
        """Keep account of an import that told of no refusal; one that failed may have stored any of its lines."""
        if done.code == 0 and done.body["stored"] + done.body["already_there"] != len(every):
            self.model.violate("lost", f"{len(every)} lines were imported: {done.out[-500:]}")
        for kept in every:
            self.model.settle(kept, True if done.code == 0 else None)
        self.model.count("imported", len(every) if done.code == 0 else 0)

    def export(self) -> None:
        """Export to a file, which appears when it is complete."""
        file = self.home / "export.jsonl"
        file.unlink(missing_ok=True)
        began = time.monotonic()
        may_die = self.chance.random() < 0.3
        done = self.run("export", str(file), seconds=self.chance.uniform(0.2, 1.5) if may_die else STUCK)
        if file.exists():
            self.check_export(file.read_text(encoding="utf-8"), began)
        elif done.code == 0:
            self.model.violate("lost", "an export left no file")

    def check_export(self, text: str, began: float) -> None:
        ended = time.monotonic()
        tokens = [self.model.check_view(json.loads(line), OPERATOR, began, ended) for line in text.splitlines()]
        self.model.check_all(tokens, OPERATOR, began, ended)
        self.model.count("exported", len(tokens))

    def look(self) -> None:
        arguments = self.chance.choice((("doctor", "--json"), ("memory", "get-stats", "--json"), ("db", "check")))
        self.run(*arguments)

    def check(self) -> None:
        """Check the whole store while nobody acts."""
        began = time.monotonic()
        done = self.run("export", "-")
        if done.code == 0:
            self.check_export(done.out, began)
        else:
            self.model.violate("stuck", f"the store cannot be exported: {done.err[-1000:]}")
        for words in ("db check", "db integrity", "audit verify"):
            done = self.run(*words.split(), "--json")
            if words == "audit verify" and done.code == UNPROVEN and not self.model.counts["verified"]:
                done = self.run("audit", "sign", "--json")
            elif done.code == 0:
                self.model.count("verified", int(words == "audit verify"))
            if done.code != 0:
                self.model.violate("integrity", f"{words}: {done.code} {done.out[-1000:]} {done.err[-1000:]}")
