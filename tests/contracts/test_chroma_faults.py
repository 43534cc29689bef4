"""What becomes of Chroma's index when its directory or its process fails."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contracts.builders import vector
from tests.contracts.chroma_child import BATCH, MODEL
from tests.contracts.chroma_steps import changes, found, refusal
from tmws_adapters.chroma import open_chroma
from tmws_core.errors import IndexUnavailable
from tmws_core.ports.index import DerivedIndex

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


@contextmanager
def child(action: str, directory: Path) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.contracts.chroma_child", action, str(directory)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def next_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def output_of(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


async def fill(directory: Path) -> None:
    async with open_chroma(directory=directory, url=None) as index:
        await index.reset(MODEL)
        await index.apply(changes(*range(1, 1501)))


async def heal(index: DerivedIndex) -> None:
    await index.reset(MODEL)
    await index.apply(changes(7, 8))
    assert await found(index) == [7, 8]


def delete(directory: Path) -> None:
    shutil.rmtree(directory)


def empty(directory: Path) -> None:
    shutil.rmtree(directory)
    directory.mkdir()


def replace(directory: Path) -> None:
    copy = directory.with_name("copy")
    shutil.copytree(directory, copy)
    shutil.rmtree(directory)
    copy.rename(directory)


def delete_database(directory: Path) -> None:
    (directory / "chroma.sqlite3").unlink()


def overwrite_database(directory: Path) -> None:
    with (directory / "chroma.sqlite3").open("r+b") as file:
        file.write(b"no database" * 1000)


@pytest.mark.parametrize("damage", [delete, empty, replace, delete_database, overwrite_database])
async def test_files_that_are_lost_under_an_open_index_are_noticed_and_a_reset_heals_it(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    directory = tmp_path / "chroma"
    await fill(directory)
    async with open_chroma(directory=directory, url=None) as index:
        assert await found(index) == [1, 2, 3]
        damage(directory)

        assert "tmws index rebuild" in await refusal(index)
        for call in (index.apply(changes(4)), index.status(), index.documents("a"), index.drop("a")):
            with pytest.raises(IndexUnavailable):
                await call

        await heal(index)
    async with open_chroma(directory=directory, url=None) as index:
        assert await found(index) == [7, 8]


def segments(directory: Path) -> list[Path]:
    return [entry for entry in directory.iterdir() if entry.is_dir()]


def delete_vectors(directory: Path) -> None:
    for segment in segments(directory):
        shutil.rmtree(segment)


def cut_vectors_off(directory: Path) -> None:
    for segment in segments(directory):
        os.truncate(segment / "data_level0.bin", 1000)


def cut_header_off(directory: Path) -> None:
    for segment in segments(directory):
        os.truncate(segment / "header.bin", 3)


def scramble_database(directory: Path) -> None:
    with (directory / "chroma.sqlite3").open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * 100_000)


def age(directory: Path) -> None:
    """Make it one that another version of Chroma has written."""
    connection = sqlite3.connect(directory / "chroma.sqlite3")
    connection.execute("UPDATE migrations SET hash = 'of another version' WHERE version = 1")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "damage", [delete_vectors, cut_vectors_off, cut_header_off, overwrite_database, scramble_database, age]
)
async def test_a_damaged_directory_names_the_remedy_and_a_reset_heals_it(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    directory = tmp_path / "chroma"
    await fill(directory)
    (directory / "notes.txt").write_text("not Chroma's")
    damage(directory)

    async with open_chroma(directory=directory, url=None) as index:
        assert "tmws index rebuild" in await refusal(index)
        await heal(index)

    assert (directory / "notes.txt").exists()


async def test_a_reset_leaves_no_files_of_former_partitions(tmp_path: Path) -> None:
    await fill(tmp_path)
    former = segments(tmp_path)
    async with open_chroma(directory=tmp_path, url=None) as index:
        await index.reset(MODEL)

    assert len(former) == 1
    assert segments(tmp_path) == []


async def test_a_new_directory_is_for_its_owner_only(tmp_path: Path) -> None:
    await fill(tmp_path / "deep" / "chroma")

    assert (tmp_path / "deep" / "chroma").stat().st_mode & 0o777 == 0o700


async def test_a_path_that_is_no_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "chroma").write_text("a file")
    async with open_chroma(directory=tmp_path / "chroma", url=None) as index:
        message = await refusal(index)

    assert str(tmp_path / "chroma") in message
    assert "TMWS_CHROMA_PERSIST_DIRECTORY" in message


async def test_a_directory_of_another_process_is_refused_and_usable_after_it(tmp_path: Path) -> None:
    await fill(tmp_path)
    with child("hold", tmp_path) as process:
        assert next_line(process) == "held"
        async with open_chroma(directory=tmp_path, url=None) as index:
            assert f"in use by another process ({process.pid})" in await refusal(index)
            with pytest.raises(IndexUnavailable, match="in use"):
                await index.reset(MODEL)

            process.kill()
            process.wait()
            assert await found(index) == [1, 2, 3]


async def test_a_directory_that_another_process_took_after_its_loss_stays_with_that(tmp_path: Path) -> None:
    directory = tmp_path / "chroma"
    await fill(directory)
    async with open_chroma(directory=directory, url=None) as index:
        assert await found(index) == [1, 2, 3]
        shutil.rmtree(directory)
        with child("hold", directory) as process:
            assert next_line(process) == "held"
            with pytest.raises(IndexUnavailable, match="in use"):
                await index.reset(MODEL)
            assert "in use" in await refusal(index)


@pytest.mark.parametrize("batches", [1, 12, 25])
async def test_what_was_acknowledged_before_a_kill_is_there_after_it(tmp_path: Path, batches: int) -> None:
    with child("fill", tmp_path) as process:
        acknowledged = [int(next_line(process)) for _ in range(batches)][-1]
        process.kill()
        process.wait()

    async with open_chroma(directory=tmp_path, url=None) as index:
        documents = (await index.documents("a")).tolist()
        assert documents[:acknowledged] == list(range(acknowledged))
        hits = await index.search(["a"], vector(1, 0), len(documents) + BATCH)
        assert sorted(hit.document for hit in hits) == documents


async def test_importing_and_opening_do_not_wait_for_chroma(tmp_path: Path) -> None:
    modules = output_of(
        "-c", "import sys, tmws_adapters.chroma; print('chromadb' in sys.modules, 'httpx' in sys.modules)"
    )
    said = output_of("-m", "tests.contracts.chroma_child", "blocked", str(tmp_path)).splitlines()

    assert modules.split() == ["False", "False"]
    assert said == ["False", "is still loading", "True"]


async def test_nothing_is_logged_when_nothing_is_wrong(tmp_path: Path) -> None:
    assert output_of("-m", "tests.contracts.chroma_child", "quiet", str(tmp_path)) == ""


def test_telemetry_is_off_whatever_the_environment_says() -> None:
    program = (
        "from tmws_adapters.chroma.quiet import QuietSettings as Settings;"
        "found = Settings(); print(found.anonymized_telemetry, repr(found.chroma_otel_collection_endpoint))"
    )
    said = output_of("-c", program, ANONYMIZED_TELEMETRY="True", CHROMA_OTEL_COLLECTION_ENDPOINT="http://example.org")

    assert said.split() == ["False", "''"]
