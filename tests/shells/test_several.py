"""Several files at once: named one by one, or found in a folder."""

from pathlib import Path

from tests.shells.inside import Inside
from tests.shells.test_other_programs import CHAT, CHEESE, document, lines, memories
from tmws_cli.transfer.files import place_of
from tmws_cli.transfer.records import Record, Skip
from tmws_cli.transfer.several import in_folder, pages_in

REMEMBERED = {
    "conversations_memory": "Dana is short.\n\n**Work context**\n\nDana runs the harbour office.\n",
    "project_memories": {"p-1": "The tide project uses Rust."},
    "account_uuid": "0198c0de-0000-7000-8000-00000000000a",
}


def exported(folder: Path) -> None:
    (folder / "projects").mkdir()
    (folder / "conversations-000.json").write_bytes(document([CHAT]))
    (folder / "conversations-001.json").write_bytes(document([{**CHAT, "conversation_id": "c0ffee00-0000-4000"}]))
    (folder / "projects" / "p.json").write_bytes(document({"uuid": "p", "docs": [], "description": "About tea."}))
    (folder / "graph.jsonl").write_bytes(lines({"type": "entity", "name": "Cheese", "observations": ["Is old."]}))
    (folder / "own.jsonl").write_bytes(lines({"memory_id": "m", "content": "The tide turns at six.", "version": 1}))
    (folder / "notes.csv").write_text("key,value\nowner,Dana\n", encoding="utf-8")
    (folder / "hand.jsonl").write_bytes(lines({"content": "Written by hand."}))
    (folder / "texts.json").write_bytes(document([{"name": "large", "memory": "64 GB"}]))
    (folder / "users.json").write_bytes(lines({"id": "u", "email": "dana@harbour.example"}))
    (folder / ".hidden.jsonl").write_bytes(lines(CHEESE))


def test_what_claude_remembers_is_a_memory_a_part() -> None:
    for raw in (document([REMEMBERED]), document(REMEMBERED)):
        short, work, tide = memories(raw, "Claude")
        assert (short.content, work.content) == ("Dana is short.", "Work context\n\nDana runs the harbour office.")
        assert (tide.content, tide.metadata) == ("The tide project uses Rust.", {"project": "p-1"})
        assert len({each.idempotency_key for each in (short, work, tide)}) == 3


def test_a_folder_without_markdown_holds_dumps_whose_shape_is_known(tmp_path: Path) -> None:
    exported(tmp_path)
    source = in_folder(tmp_path, ignore_unknown=False)
    items = list(source)
    assert source.position == source.total == sum(each.stat().st_size for each in tmp_path.rglob("[!.]*.*"))
    named = "3 files that may hold memories: name them by themselves to import them"
    assert [item for item in items if isinstance(item, Skip)] == [
        Skip(place="users.json", reason="holds no memories"),
        Skip(place="hand.jsonl, notes.csv, texts.json", reason=named),
    ]
    places = [item.place for item in items if isinstance(item, Record)]
    assert {place.partition(",")[0] for place in places} == {
        "conversations-000.json",
        "conversations-001.json",
        "graph.jsonl",
        "own.jsonl",
        "projects/p.json",
    }
    assert len(places) == 3 + 3 + 1 + 1 + 1


def test_beside_markdown_a_folder_holds_conversations_alone(tmp_path: Path) -> None:
    exported(tmp_path)
    (tmp_path / "note.md").write_text("A note.", encoding="utf-8")
    *items, named, rest = in_folder(tmp_path, ignore_unknown=False)
    reason = "5 files that may hold memories: name them by themselves to import them"
    assert named == Skip(place="graph.jsonl, hand.jsonl, notes.csv, …", reason=reason)
    assert rest == Skip(place="users.json", reason="1 file of another kind")
    assert all(isinstance(item, Record) for item in items), items
    assert {item.place.partition(",")[0] for item in items} == {
        "note.md",
        "conversations-000.json",
        "conversations-001.json",
        "projects/p.json",
    }


def test_a_project_is_imported_without_its_dependencies_and_what_is_passed_over_is_named(tmp_path: Path) -> None:
    for name in ("README.md", "node_modules/x/LIB.md", "app/venv/LICENSE.md", "app/a.py", "b.txt", "c.txt", "d.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("Text.", encoding="utf-8")
    (tmp_path / "linked").symlink_to(tmp_path / "node_modules" / "x")
    source = in_folder(tmp_path, ignore_unknown=False)
    linked, readme, dependencies, others = source
    assert (readme.place, linked.place) == ("README.md", "linked")
    assert dependencies == Skip(place="app/venv, node_modules", reason="2 folders of dependencies")
    assert others == Skip(place="app/a.py, b.txt, c.txt, …", reason="4 files of other kinds")
    [pages] = pages_in(source)
    assert not pages.lacks(place_of(tmp_path / "app" / "venv" / "LICENSE.md"), "what was imported by itself")
    assert pages.lacks(place_of(tmp_path / "app" / "GONE.md"), "what was there once")


def test_several_files_are_one_import_and_nothing_at_all_is_an_error(tmp_path: Path) -> None:
    command = Inside(tmp_path).using(TMWS_ONNX_MODEL_DIR="missing")
    (tmp_path / "chats.json").write_bytes(document([CHAT]))
    (tmp_path / "users.json").write_bytes(document([{"uuid": "u"}]))
    (tmp_path / "note.md").write_text("A note.", encoding="utf-8")
    done = command.run("import", "chats.json", "users.json", "note.md", "--json")
    assert (done.code, done.answer["stored"]) == (1, 4)
    assert [each["place"] for each in done.answer["refusals"]] == ["users.json"]
    (tmp_path / "blank.json").write_bytes(document([{"memory": " "}]))
    nothing = command.run("import", "blank.json", "--dry-run")
    assert (nothing.code, nothing.err) == (1, "error: blank.json holds nothing to remember\n")


def test_our_own_lines_are_no_note_whatever_their_file_is_called(tmp_path: Path) -> None:
    command = Inside(tmp_path).using(TMWS_ONNX_MODEL_DIR="missing")
    line = {"memory_id": "m", "content": "The tide turns at six."}
    (tmp_path / "lines.md").write_bytes(lines(line))
    (tmp_path / "note.md").write_bytes(b"{tide: 6}\n\n" + lines(line))
    for names in (["lines.md"], ["lines.md", "note.md"]):
        answer = command.ok("import", *names, "--dry-run", "--json").answer
        assert answer["examples"][0]["content"] == "The tide turns at six."
    assert answer["examples"][1]["content"].startswith("note\n\n{tide: 6}")
