"""Watching real processes, with all that they start: what they look up, connect to and write."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import attrs

from tests.shells.serving import PATIENCE, ROOT, environment

STRACE = shutil.which("strace")
RECORDERS = ["hook", *(["strace"] if STRACE else [])]
"""What can watch here: strace sees what native code does, too."""

DNS = 53

SECONDS = 240
"""How long a watched process may take on a busy machine."""

_SPEAKING = ("connect", "sendto", "sendmsg", "sendmmsg")
_NAMING = ("mkdir", "mkdirat", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat")
_CALLS = ",".join(f"?{name}" for name in (*_SPEAKING, *_NAMING, "open", "openat", "creat"))
"""The question marks pass over what the kernel of a machine does not have."""
_CALL = re.compile(r"^\d+ +(\w+)\((.*)$")
_FAILED = re.compile(r"= -1 E\w+ ")
_PEER = re.compile(r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)")')
_NAME_SERVICE = re.compile(r'sun_path="([^"]*resolve[^"]*)"')
_OPENED = re.compile(r"= \d+<(/[^>]*)>")
_NAMED = re.compile(r'(?:AT_FDCWD|\d+)<([^>]*)>, "((?:[^"\\]|\\.)*)"|"((?:[^"\\]|\\.)*)"')


@attrs.frozen
class Seen:
    """What a process did, and all that it has started."""

    lookups: frozenset[str]
    connections: frozenset[tuple[str, int]]
    written: frozenset[Path]

    @property
    def strangers(self) -> set[tuple[str, int]]:
        """Return the peers that are not on this machine."""
        return {(host, port) for host, port in self.connections if not ip_address(host).is_loopback}

    def outside(self, *places: Path) -> set[Path]:
        """Return what was written elsewhere; devices and the kernel's own files are no places."""
        allowed = [place.resolve() for place in (*places, Path("/dev"), Path("/proc"))]
        return {path for path in self.written if not any(path.is_relative_to(place) for place in allowed)}


@attrs.frozen
class Watched:
    """Processes that are watched, in a directory with an empty home of the user and one for temporary files."""

    directory: Path
    recorder: str = RECORDERS[-1]

    @property
    def user(self) -> Path:
        """Return the home of the user."""
        return self.directory / "user"

    @property
    def home(self) -> Path:
        """Return the data directory."""
        return self.directory / "home"

    @property
    def temporary(self) -> Path:
        """Return where temporary files belong."""
        return self.directory / "temporary"

    @property
    def output(self) -> Path:
        """Return where the processes work, and write what they are told to."""
        return self.directory / "output"

    def run(self, words: Sequence[str], stdin: bytes = b"", **settings: str) -> tuple[int, str, Seen]:
        """Run to the end, of all that is started, too; return the exit code, what was said, and what was seen."""
        with self._prepared(words, settings) as (prefixed, env, trace):
            done = subprocess.run(
                prefixed, input=stdin, capture_output=True, check=False, timeout=SECONDS, cwd=self.output, env=env
            )
        return done.returncode, (done.stdout + done.stderr).decode(), self._seen(trace)

    @contextmanager
    def started(self, words: Sequence[str], **settings: str) -> Iterator["subprocess.Popen[str]"]:
        """Start for the block, and ask to end after it."""
        with (
            self._prepared(words, settings) as (prefixed, env, _),
            subprocess.Popen(
                prefixed,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=self.output,
                env=env,
                text=True,
            ) as process,
        ):
            try:
                yield process
            finally:
                os.kill(self._traced(process.pid), signal.SIGTERM)
                process.wait(PATIENCE)

    def check(self, seen: Seen) -> None:
        """Fail if anything left the machine, or was written where it does not belong."""
        assert seen.lookups == set()
        assert seen.strangers == set()
        assert seen.outside(self.home, self.temporary, self.output) == set()
        assert list(self.user.iterdir()) == []

    def seen(self) -> Seen:
        """Return what was seen last."""
        return self._seen(self.directory / "trace")

    @contextmanager
    def _prepared(
        self, words: Sequence[str], settings: dict[str, str]
    ) -> Iterator[tuple[list[str], dict[str, str], Path]]:
        trace = self.directory / "trace"
        trace.unlink(missing_ok=True)
        for folder in (self.user, self.temporary, self.output):
            folder.mkdir(exist_ok=True)
        env = environment(self.home, **settings)
        env |= {"HOME": str(self.user), "TMPDIR": str(self.temporary), "PYTHONDONTWRITEBYTECODE": "1"}
        inherited = [name for name in env if name.startswith(("XDG_", "ORT_", "HF_")) and name not in settings]
        for name in inherited:
            del env[name]
        if self.recorder == "strace":
            assert STRACE
            options = [
                "-f",
                "--seccomp-bpf",
                "-qq",
                "-y",
                "-s",
                "4096",
                "-e",
                f"trace={_CALLS}",
                "-e",
                "signal=none",
                "-o",
                str(trace),
            ]
            yield [STRACE, *options, *words], env, trace
        else:
            env["PYTHONPATH"] = f"{Path(__file__).with_name('listening')}:{ROOT}"
            yield list(words), {**env, "TEST_TRACE": str(trace)}, trace

    def _traced(self, pid: int) -> int:
        if self.recorder != "strace":
            return pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()[0])

    def _seen(self, trace: Path) -> Seen:
        lines = trace.read_text(encoding="utf-8", errors="replace").splitlines()
        events = list(_by_strace(lines, self.output) if self.recorder == "strace" else _by_hook(lines))
        written = {Path(path) for what, path in events if what == "write"} - {trace}
        peers = {(str(peer[0]), int(peer[1])) for what, peer in events if what == "connection"}
        lookups = {str(name) for what, name in events if what == "lookup" and not _is_address(name)}
        lookups |= {f"port {port} of {host}" for host, port in peers if port == DNS}
        return Seen(frozenset(lookups), frozenset(peers), frozenset(written))


def python(*words: str) -> list[str]:
    """Return the words of a Python process."""
    return [sys.executable, "-W", "error", *words]


def _is_address(name: object) -> bool:
    if name in (None, "localhost"):
        return True
    try:
        ip_address(str(name))
    except ValueError:
        return False
    return True


def _by_hook(lines: Sequence[str]) -> Iterator[tuple[str, object]]:
    for line in lines:
        what, value = json.loads(line)
        yield what, value


def _by_strace(lines: Sequence[str], place: Path) -> Iterator[tuple[str, Any]]:
    for line in _whole(lines):
        found = _CALL.match(line)
        if found is None:
            continue
        name, rest = found.groups()
        if name in _SPEAKING:
            yield from _spoken(rest)
        elif _FAILED.search(rest):
            continue
        elif not name.startswith(("open", "creat")):
            yield "write", _target(rest, place)
        elif re.search(r"O_(WRONLY|RDWR|CREAT|TRUNC)", rest) or name == "creat":
            opened = _OPENED.search(rest)
            yield from [("write", opened.group(1).removesuffix(" (deleted)"))] if opened else []


def _spoken(rest: str) -> Iterator[tuple[str, Any]]:
    for port, four, six in _PEER.findall(rest):
        yield "connection", (four or six, int(port))
    for path in _NAME_SERVICE.findall(rest):
        yield "lookup", path


def _target(rest: str, place: Path) -> str:
    """Return the last path among the arguments, the one that comes into being; a relative one is seen from `place`."""
    folder, name, plain = _NAMED.findall(rest.rpartition(" = ")[0])[-1]
    return str(os.path.normpath(place / folder / (name or plain)))


def _whole(lines: Sequence[str]) -> Iterator[str]:
    """Yield the calls, those put together that others interrupted."""
    begun: dict[str, str] = {}
    for line in lines:
        process = line.partition(" ")[0]
        if line.endswith("<unfinished ...>"):
            begun[process] = line.removesuffix("<unfinished ...>")
        elif "resumed>" in line and process in begun:
            yield begun.pop(process) + line.partition("resumed>")[2]
        else:
            yield line
