"""Exports are complete, private and durable, or not there, whatever stands in their way."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.shells.command import Command, without_the_rights_of_root
from tests.shells.inside import Inside
from tests.shells.traced import STRACE

COUNT = 1500


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Return the command in a home with memories of several pages; no test changes them."""
    command = Inside(tmp_path_factory.mktemp("full")).using(TMWS_ONNX_MODEL_DIR="missing")
    lines = "".join(json.dumps({"content": f"Turn {number}."}) + "\n" for number in range(COUNT))
    command.ok("import", "-", stdin=lines)
    return command


@pytest.fixture(scope="module")
def whole(full: Command) -> bytes:
    """Return what an export without any trouble holds."""
    return full.ok("export", "-").out.encode()


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if "partial" in path.name)


def test_nothing_that_stands_beside_is_gone_on_with(full: Command, tmp_path: Path, whole: bytes) -> None:
    target, victim = tmp_path / "out.jsonl", tmp_path / "victim"
    victim.write_text("mine", encoding="utf-8")
    last = json.loads(whole.splitlines()[0])["memory_id"]
    planted = tmp_path / "out.jsonl.partial"
    planted.write_text(json.dumps({"memory_id": last, "content": "planted"}) + "\n", encoding="utf-8")
    planted.chmod(0o666)
    (tmp_path / ".out.jsonl.0000000000000000.partial").symlink_to(victim)
    target.symlink_to(victim)
    full.ok("export", str(target))
    assert target.read_bytes() == whole
    assert not target.is_symlink()
    assert mode_of(target) == 0o600
    assert victim.read_text(encoding="utf-8") == "mine"
    assert "planted" in planted.read_text(encoding="utf-8")


def test_export_that_was_killed_is_the_same_when_it_is_run_again(full: Command, tmp_path: Path, whole: bytes) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("former", encoding="utf-8")
    with full.start("export", str(target)) as process:
        assert process.stderr
        assert any(line.startswith("export: 1000 memories") for line in process.stderr)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert target.read_text(encoding="utf-8") == "former"
    [draft] = left(tmp_path)
    assert mode_of(tmp_path / draft) == 0o600
    full.ok("export", str(target))
    assert target.read_bytes() == whole
    assert left(tmp_path) == []


def test_two_exports_to_one_place_are_both_whole(full: Command, tmp_path: Path, whole: bytes) -> None:
    target = tmp_path / "out.jsonl"
    started = [full.start("export", str(target)) for _ in range(2)]
    for process in started:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert target.read_bytes() == whole
    assert left(tmp_path) == []


@pytest.mark.parametrize("kind", ["folder", "pipe", "read-only"])
def test_what_is_not_to_be_replaced_is_refused(full: Command, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out.jsonl"
    if kind == "folder":
        target.mkdir()
    elif kind == "pipe":
        os.mkfifo(target)
    else:
        target.write_text("precious", encoding="utf-8")
        target.chmod(0o400)
    done = full.run("export", str(target))
    assert done.code == 2
    assert {"folder": "is a folder", "pipe": "is no regular file", "read-only": "is read-only"}[kind] in done.err
    assert left(tmp_path) == []


def test_folder_that_may_not_be_written_is_an_error(full: Command, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    done = without_the_rights_of_root(full).run("export", str(closed / "out.jsonl"))
    assert (done.code, list(closed.iterdir())) == (1, [])
    assert "Permission denied" in done.err


def test_disk_that_takes_no_more_ends_an_export_with_the_reason(full: Command, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("former", encoding="utf-8")
    limited = Command(full.directory, full.env, ("sh", "-c", 'ulimit -f 128; exec "$@"', "sh"))
    done = limited.run("export", str(target))
    assert (done.code, left(tmp_path)) == (1, [])
    assert "File too large" in done.err
    assert target.read_text(encoding="utf-8") == "former"


def test_markdown_folder_says_what_is_true_now_and_nothing_leaves_it(tmp_path: Path) -> None:
    command = Inside(tmp_path).using(TMWS_ONNX_MODEL_DIR="missing")
    source = {"content": "# ../../up", "namespace": "a/b", "source": "../../up.md", "session_id": "../x"}
    command.ok("import", "-", stdin=json.dumps(source))
    kept = command.ok("memory", "create", "Stays as it is.", "--json").answer["memory_id"]
    command.ok("export", "out", "--format", "markdown")
    [changed] = [path for path in (tmp_path / "out").iterdir() if path.stem != kept]
    before = (tmp_path / "out" / f"{kept}.md").stat()
    assert (mode_of(tmp_path / "out"), before.st_mode & 0o777) == (0o700, 0o600)
    victim = tmp_path / "victim"
    victim.write_text("mine", encoding="utf-8")
    changed.unlink()
    changed.symlink_to(victim)
    (tmp_path / "out" / f".{changed.name}.0.partial").symlink_to(victim)
    command.ok("memory", "update", changed.stem, "--content", "Changed since.")
    command.ok("export", "out", "--format", "markdown")
    assert "Changed since." in changed.read_text(encoding="utf-8")
    assert victim.read_text(encoding="utf-8") == "mine"
    assert (tmp_path / "out" / f"{kept}.md").stat().st_mtime_ns == before.st_mtime_ns
    assert {path.name for path in tmp_path.iterdir()} - {"home"} == {"out", "victim"}


@pytest.mark.parametrize("format_", ["jsonl", "markdown"])
def test_export_syncs_what_it_wrote_and_its_folders(tmp_path: Path, format_: str) -> None:
    trace = tmp_path / "trace"
    options = ("-f", "-qq", "-y", "-e", "trace=fsync,?rename,?renameat,?renameat2", "-o", str(trace))
    if not STRACE:
        pytest.skip("strace is not installed")
    command = Inside(tmp_path).using(TMWS_ONNX_MODEL_DIR="missing")
    command.ok("memory", "create", "One.")
    place = tmp_path / "place"
    place.mkdir()
    target = place / "out"
    Command(tmp_path, command.env, (STRACE, *options)).ok("export", str(target), "--format", format_)
    calls = [line.split(" ", 1)[1].strip() for line in trace.read_text(encoding="utf-8").splitlines()]
    shown = [call for call in calls if str(place) in call]
    syncs = [number for number, call in enumerate(shown) if call.startswith("fsync")]
    [renamed] = [number for number, call in enumerate(shown) if call.startswith("rename")]
    assert any(number < renamed and ".partial>" in shown[number] for number in syncs), shown
    # A folder of an export is new in the one that it is in.
    for changed in [place] if format_ == "jsonl" else [target, place]:
        assert any(number > renamed and f"<{changed}>" in shown[number] for number in syncs), shown
