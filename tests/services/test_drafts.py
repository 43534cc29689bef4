"""Files that appear when they are complete: on the disk before they have their name, and never left half written."""

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from tests.contracts.audit_steps import KEY
from tests.servers.disk import mounted
from tmws_adapters.auditing import PositionFile
from tmws_adapters.drafts import clear_away, draft_of, write_durably
from tmws_core.domain.chain import ChainEnd, Checkpoint

LONG = "x" * 8192

LOCK = "file.lock"
"""What processes hold in turns that keep positions in one file."""

Write = Callable[[Path], object]


def write_text(path: Path) -> None:
    write_durably(path, LONG.encode())


def keep_position(path: Path) -> None:
    """Keep a signed position in a file, as the service does; OSError where it says that it could not."""
    checkpoint = Checkpoint(end=ChainEnd(), created_at=LONG, pruned=False, public_key=KEY.public_key, signature=b"")
    if not anyio.run(PositionFile(path, "log").keep, checkpoint):
        raise OSError


WRITES: list[Write] = [write_text, keep_position]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Return what is synced and put in its place, in order."""
    seen: list[tuple[str, str]] = []
    sync, replace = os.fsync, os.replace

    def seen_sync(descriptor: int) -> None:
        seen.append(("sync", "directory" if os.path.isdir(descriptor) else "file"))  # noqa: PTH112 - a descriptor
        sync(descriptor)

    def seen_replace(source: Path, target: Path) -> None:
        assert source.stat().st_mode & 0o777 == 0o600
        seen.append(("replace", target.name))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", seen_sync)
    monkeypatch.setattr(os, "replace", seen_replace)
    return seen


@pytest.mark.parametrize("write", WRITES)
def test_contents_are_on_the_disk_before_the_name_and_the_name_before_the_end(
    tmp_path: Path, steps: list[tuple[str, str]], write: Write
) -> None:
    write(tmp_path / "file")

    assert steps == [("sync", "file"), ("replace", "file"), ("sync", "directory")]
    assert LONG in (tmp_path / "file").read_text()


@pytest.mark.parametrize("write", WRITES)
def test_a_full_disk_leaves_the_former_file_and_no_draft(tmp_path: Path, write: Write) -> None:
    with mounted(tmp_path, 4096):
        (tmp_path / "file").write_text("former") if write is write_text else (tmp_path / "ballast").write_text("x")

        with pytest.raises(OSError):  # noqa: PT011 - of what the errors say, there is nothing to see here
            write(tmp_path / "file")

        assert [path.read_text() for path in tmp_path.iterdir() if path.name != LOCK] in (["former"], ["x"])


@pytest.mark.parametrize("write", WRITES)
def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path, write: Write) -> None:
    (tmp_path / f".file.{0:016x}.partial").write_text("half")

    write(tmp_path / "file")

    assert {path.name for path in tmp_path.iterdir()} - {LOCK} == {"file"}


def test_only_drafts_that_nobody_writes_are_cleared_away(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("mine", encoding="utf-8")
    (tmp_path / ".out.jsonl.0000000000000000.partial").symlink_to(kept)
    os.link(kept, tmp_path / ".out.jsonl.0000000000000001.partial")
    os.mkfifo(tmp_path / ".out.jsonl.0000000000000002.partial")
    (tmp_path / ".out.jsonl.0000000000000003.partial").write_text("left", encoding="utf-8")
    with draft_of(tmp_path / "out.jsonl") as draft:
        clear_away(tmp_path, "out.jsonl")
        assert draft.path.exists()
        draft.complete()
    left = sorted(path.name for path in tmp_path.iterdir() if path.name.endswith(".partial"))
    assert left == [f".out.jsonl.{number:016}.partial" for number in range(3)]
    assert kept.read_text(encoding="utf-8") == "mine"


def test_what_has_no_name_of_a_draft_is_somebody_elses(tmp_path: Path) -> None:
    theirs = [".download.mp4.partial", ".out.0.partial", f".out.{'0' * 16}.part", f"out.{'0' * 16}.partial"]
    for name in (*theirs, f".out.{'0' * 16}.partial", f".out.jsonl.{'0' * 16}.partial"):
        (tmp_path / name).write_text("half", encoding="utf-8")
    clear_away(tmp_path, "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*theirs, f".out.jsonl.{'0' * 16}.partial"])
    clear_away(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(theirs)
