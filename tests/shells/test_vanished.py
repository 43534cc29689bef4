"""What vanished from pages since their last import is told, and expires when that is wanted."""

import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import attrs
import pytest

from tests.shells.inside import Inside
from tests.stacks import stacked
from tmws_adapters.bootstrap import open_app
from tmws_adapters.local import lock
from tmws_adapters.settings import load_settings
from tmws_adapters.system import SystemClock
from tmws_cli.transfer.files import place_of
from tmws_cli.transfer.importing import Import, Tally
from tmws_cli.transfer.made import Made
from tmws_cli.transfer.pages import MarkdownPages
from tmws_core.app import App
from tmws_core.domain.agent import Caller
from tmws_core.messages.memory import ALL, DeleteMemory, ListMemories, UpdateMemory


def set_clock(patch: pytest.MonkeyPatch, moved: timedelta) -> None:
    """Let all clocks of this process be so far off."""
    patch.setattr(SystemClock, "now", lambda _: datetime.now(UTC) + moved)  # noqa: TID251 - it stands for the clock


@attrs.frozen
class Vault:
    """A folder of notes, and the store that it is imported into."""

    folder: Path
    app: App
    caller: Caller

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    async def imported(self, *names: str, prune: bool = False, strict: bool = False) -> dict[str, int]:
        """Import it, or what is so called in it, and return what was counted, zeros left out."""
        tally = await self.run(*names, prune=prune, strict=strict)
        counts = ("stored", "already_there", "merged", "superseded", "refused", "vanished", "pruned")
        return {each: getattr(tally, each) for each in counts if getattr(tally, each)}

    async def run(self, *names: str, prune: bool = False, strict: bool = False) -> Tally:
        pages = [MarkdownPages.at(self.folder / name, ignore_unknown=False) for name in names or ("",)]
        made = Made.beside(self.folder.parent / "store", self.caller)
        run = Import(app=self.app, caller=self.caller, made=made, strict=strict, on_refusal=lambda _: None)
        for each in pages:
            await run.run(each, lambda _position, _memories: None)
        await run.end(pages, prune=prune)
        return run.tally

    @property
    def ledger(self) -> Path:
        return self.folder.parent / "store.imports"

    def known(self) -> dict[str, dict[str, str]]:
        """Return the ids of the memories that sections are known to have made, by the names of pages and sections."""
        kept: dict[str, dict[str, dict[str, str]]] = json.loads(self.ledger.read_bytes())["owned"]
        return {Path(page).name: sections for pages in kept.values() for page, sections in pages.items()}

    async def current(self) -> list[str]:
        answer = await self.app.call(self.caller, ListMemories(limit=100, oldest_first=True, max_chars=ALL))
        return [memory.content for memory in answer.memories]


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[Vault]:
    (tmp_path / "home").mkdir()
    (tmp_path / "vault").mkdir()
    chosen = load_settings(
        stacked({"TMWS_HOME": str(tmp_path / "home"), "TMWS_ONNX_MODEL_DIR": "missing"}), dotenv=None
    )
    async with open_app(chosen) as app:
        yield Vault(tmp_path / "vault", app, chosen.operator(transport="cli"))


@pytest.mark.anyio
async def test_what_vanished_is_named_and_stays_until_it_is_pruned(vault: Vault) -> None:
    vault.write("a.md", "# A\n\n## One\n\nFirst.\n\n## Two\n\nSecond.\n")
    vault.write("b.md", "Whole.\n")
    assert await vault.imported() == {"stored": 3}
    vault.write("a.md", "# A\n\n## One\n\nFirst.\n")
    (vault.folder / "b.md").unlink()
    for _ in range(2):
        assert await vault.imported() == {"already_there": 1, "vanished": 2}
    assert sorted((await vault.run()).missing) == ["a.md#two", "b.md#"]
    assert len(await vault.current()) == 3
    assert await vault.imported(prune=True) == {"already_there": 1, "vanished": 2, "pruned": 2}
    assert await vault.current() == ["A > One\n\nFirst."]
    assert await vault.imported(prune=True) == {"already_there": 1}


@pytest.mark.anyio
async def test_a_heading_whose_text_was_deleted_stands_for_itself(vault: Vault) -> None:
    texts = "# A\n\nOpen.\n\n## Ana owns billing\n\nSince May.\n", "# A\n\nOpen.\n\n## Ana owns billing\n"
    vault.write("a.md", texts[0])
    assert await vault.imported() == {"stored": 2}
    for text, content in ((texts[1], "A > Ana owns billing"), (texts[0], "A > Ana owns billing\n\nSince May.")):
        vault.write("a.md", text)
        assert await vault.imported(prune=True) == {"stored": 1, "already_there": 1, "superseded": 1}
        assert await vault.imported(prune=True) == {"already_there": 2}
        assert await vault.current() == ["A\n\nOpen.", content]


@pytest.mark.anyio
async def test_what_was_pruned_is_in_force_again_when_it_is_back(vault: Vault) -> None:
    vault.write("a.md", "Here.\n")
    vault.write("b.md", "---\nexpires_at: 2099-01-01\n---\nHere for long.\n")
    await vault.imported()
    for name in ("a.md", "b.md"):
        (vault.folder / name).rename(vault.folder / f"{name}.away")
    assert await vault.imported(prune=True) == {"vanished": 2, "pruned": 2}
    for name in ("a.md", "b.md"):
        (vault.folder / f"{name}.away").rename(vault.folder / name)
    assert await vault.imported() == {"stored": 2}
    assert await vault.imported() == {"already_there": 2}
    assert await vault.current() == ["a\n\nHere.", "b\n\nHere for long."]
    (vault.folder / "a.md").unlink()
    assert await vault.imported(prune=True) == {"already_there": 1, "vanished": 1, "pruned": 1}
    vault.write("a.md", "Here, otherwise.\n")
    assert await vault.imported() == {"stored": 1, "already_there": 1}


@pytest.mark.anyio
async def test_what_was_pruned_is_back_where_nothing_is_known_of_it(vault: Vault) -> None:
    vault.write("a.md", "Here.\n")
    await vault.imported()
    (vault.folder / "a.md").rename(vault.folder / "a.md.away")
    assert await vault.imported(prune=True) == {"vanished": 1, "pruned": 1}
    (vault.folder.parent / "store.imports").unlink()
    (vault.folder / "a.md.away").rename(vault.folder / "a.md")
    assert await vault.imported() == {"stored": 1}
    assert await vault.imported() == {"already_there": 1}
    assert await vault.current() == ["a\n\nHere."]


@pytest.mark.anyio
async def test_imports_that_end_at_once_wait_for_each_other_and_keep_what_both_made(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, looked = vault.folder.parent / "store", anyio.Event()
    first, second, take = Made.beside(store, vault.caller), Made.beside(store, vault.caller), lock.take

    def look(path: str) -> int | None:
        looked.set()
        return take(path)

    async def end(made: Made) -> None:
        async with made.kept():
            pass

    first.note("one", "k", "m1")
    second.note("two", "k", "m2")
    async with anyio.create_task_group() as tasks, first.kept():
        monkeypatch.setattr(lock, "take", look)
        tasks.start_soon(end, second)
        await looked.wait()
        monkeypatch.setattr("tmws_cli.transfer.made.WAIT_SECONDS", 0)
        with pytest.raises(OSError, match="another import has not ended"):
            await end(Made.beside(store, vault.caller))
        monkeypatch.undo()
    assert vault.known() == {"one": {"k": "m1"}, "two": {"k": "m2"}}


@pytest.mark.anyio
async def test_what_another_page_says_has_not_vanished(vault: Vault) -> None:
    for name in ("a", "b"):
        (vault.folder / name).mkdir()
        vault.write(f"{name}/s.md", "Said twice.\n")
    assert await vault.imported("a") == {"stored": 1}
    assert await vault.imported("b") == {"already_there": 1}
    (vault.folder / "a/s.md").unlink()
    assert await vault.imported("a", prune=True) == {}
    assert await vault.imported("b") == {"already_there": 1}
    assert await vault.current() == ["s\n\nSaid twice."]
    vault.write("a/s.md", "Said twice.\n")
    assert await vault.imported("a") == {"already_there": 1}
    for name in ("a", "b"):
        (vault.folder / name / "s.md").unlink()
    assert await vault.imported(prune=True) == {"vanished": 1, "pruned": 1}
    vault.write("b/s.md", "Said twice.\n")
    assert await vault.imported("b") == {"stored": 1}
    assert await vault.current() == ["s\n\nSaid twice."]


@pytest.mark.anyio
async def test_what_vanished_from_a_folder_that_was_moved_is_told(vault: Vault) -> None:
    (vault.folder / "a").mkdir()
    vault.write("a/s.md", "Here.\n")
    assert await vault.imported("a") == {"stored": 1}
    (vault.folder / "a").rename(vault.folder / "b")
    assert await vault.imported("b") == {"already_there": 1}
    (vault.folder / "b/s.md").unlink()
    assert await vault.imported("b", prune=True) == {"vanished": 1, "pruned": 1}


@pytest.mark.anyio
async def test_what_was_refused_or_lies_elsewhere_has_not_vanished(vault: Vault) -> None:
    vault.write("a.md", "One.\n")
    vault.write("b.md", "Two.\n")
    for name, text in (
        ("sub/c.md", "Three.\n"),
        (".hidden/d.md", "Four.\n"),
        (".e.md", "Five.\n"),
        ("f.txt", "Six.\n"),
    ):
        (vault.folder / name).parent.mkdir(exist_ok=True)
        vault.write(name, text)
        if name != "sub/c.md":
            await vault.imported(name)
    await vault.imported()
    vault.write("a.md", "---\na: [\n---\nOne.\n")
    assert await vault.imported() == {"refused": 1, "already_there": 2}
    (vault.folder / "b.md").unlink()
    assert await vault.imported(strict=True, prune=True) == {"refused": 1}
    assert "vanished" not in await vault.imported("sub")
    assert "vanished" not in await vault.imported("sub/c.md")
    (vault.folder / ".e.md").unlink()
    (vault.folder / ".hidden").rename(vault.folder / ".away")
    assert (await vault.run("sub", "", prune=True)).missing == ["b.md#"]
    assert len(await vault.current()) == 5


@pytest.mark.anyio
async def test_what_is_not_in_force_any_more_is_not_missed(vault: Vault) -> None:
    for name in ("deleted", "expired", "replaced", "there"):
        vault.write(f"{name}.md", f"{name}\n")
    await vault.imported()
    made = {page: memory_id for page, sections in vault.known().items() for memory_id in sections.values()}
    await vault.app.call(vault.caller, DeleteMemory(memory_id=made["deleted.md"]))
    past = datetime(2020, 1, 1, tzinfo=UTC)
    await vault.app.call(vault.caller, UpdateMemory(memory_id=made["expired.md"], expires_at=past))
    await vault.app.call(vault.caller, UpdateMemory(memory_id=made["replaced.md"], superseded_by=made["there.md"]))
    for name in ("deleted", "expired", "replaced"):
        (vault.folder / f"{name}.md").unlink()
    assert await vault.imported() == {"already_there": 1}
    assert list(vault.known()) == ["there.md"]


@pytest.mark.anyio
async def test_a_page_belongs_to_each_project_that_imports_it(vault: Vault) -> None:
    shop, blog = (attrs.evolve(vault, caller=attrs.evolve(vault.caller, namespace=name)) for name in ("shop", "blog"))
    vault.write("leave.md", "Ask Lisa.\n")
    assert await shop.imported() == await blog.imported() == {"stored": 1}
    vault.write("leave.md", "Ask Ana.\n")
    for project in (blog, shop):
        assert await project.imported() == {"stored": 1, "superseded": 1}
    assert await shop.imported() == await blog.imported() == {"already_there": 1}
    assert await vault.current() == ["leave\n\nAsk Ana."] * 2
    kept = json.loads(vault.ledger.read_bytes())
    earlier = {"pages": kept["owned"][f"{vault.caller.agent_id} shop"]}  # as the file was without agents and namespaces
    vault.ledger.write_text(json.dumps(earlier), encoding="utf-8")
    assert await blog.imported() == {"already_there": 1}
    (vault.folder / "leave.md").unlink()
    assert await blog.imported(prune=True) == {"vanished": 1, "pruned": 1}
    assert await shop.imported(prune=True) == {"vanished": 1, "pruned": 1}
    assert await vault.current() == []
    assert await blog.imported() == await shop.imported() == {}


@pytest.mark.anyio
async def test_what_cannot_be_read_of_former_imports_is_made_anew(vault: Vault) -> None:
    vault.write("a.md", "One.\n")
    await vault.imported()
    (vault.folder.parent / "store.imports").unlink()
    os.mkfifo(vault.folder.parent / "store.imports")
    assert await vault.imported() == {"already_there": 1}
    (vault.folder.parent / "store.imports").write_bytes(b"{torn")
    assert await vault.imported() == {"already_there": 1}
    (vault.folder / "a.md").unlink()
    assert await vault.imported() == {"vanished": 1}
    (vault.folder.parent / "store.imports").write_text(
        json.dumps({"pages": {"x": 5, place_of(vault.folder / "a.md"): {"k": 5}}, "pruned": []})
    )
    assert await vault.imported() == {}


@pytest.mark.anyio
async def test_counts_are_true_when_the_clock_was_set_back(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    for day, hour in enumerate(("03:45", "02:15", "04:00", "02:15")):
        set_clock(monkeypatch, -timedelta(days=day))
        vault.write("backup.md", f"# Backup\n\nStarts at {hour}.\n")
        expected = {"stored": 1} | ({"superseded": 1} if day else {})
        assert await vault.imported() == expected
        assert await vault.imported() == {"already_there": 1}
        assert await vault.current() == [f"Backup\n\nStarts at {hour}."]
    (vault.folder / "backup.md").unlink()
    set_clock(monkeypatch, -timedelta(days=9))
    assert await vault.imported(prune=True) == {"vanished": 1, "pruned": 1}
    assert await vault.current() == []
    set_clock(monkeypatch, -timedelta(days=10))
    assert await vault.imported(prune=True) == {}


@pytest.mark.embedded("the file is named after that of the database")
def test_an_import_that_cannot_note_what_it_made_says_so_and_stores(tmp_path: Path) -> None:
    command = Inside(tmp_path).using(TMWS_ONNX_MODEL_DIR="missing")
    (command.home / "tmws.db.imports" / "something").mkdir(parents=True)
    (tmp_path / "note.md").write_text("Stored.", encoding="utf-8")
    done = command.ok("import", "note.md")
    assert done.out == "Stored 1, already there 0, refused 0\n"
    assert "is not noted (Is a directory)" in done.err


def test_an_empty_folder_is_warned_of_unless_its_last_page_vanished(tmp_path: Path) -> None:
    command = Inside(tmp_path).using(TMWS_ONNX_MODEL_DIR="missing")
    (tmp_path / "vault").mkdir()
    page = tmp_path / "vault" / "a.md"
    page.write_text("One.", encoding="utf-8")
    coming = command.ok("import", "vault", "--dry-run").out
    assert coming.startswith("Markdown: 1 memory would come, refused 0; nothing is stored\n")
    command.ok("import", "vault")
    page.unlink()
    pruned = command.ok("import", "vault", "--prune")
    assert (pruned.out.splitlines()[1], pruned.err) == ("Let expire what is not there any more, 1: a.md#", "")
    nothing = command.run("import", "vault")
    assert (nothing.code, "error: vault holds neither Markdown nor" in nothing.err) == (1, True)
