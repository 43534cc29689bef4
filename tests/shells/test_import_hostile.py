"""Files that are damaged, endless, elsewhere or made to hurt are refused by themselves; their neighbours are stored."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.shells.command import Command, without_the_rights_of_root
from tests.shells.inside import Inside
from tests.stacks import stacked
from tmws_adapters.bootstrap import open_app
from tmws_adapters.settings import load_settings
from tmws_cli.transfer.blocks import HEADING_CHARACTERS
from tmws_cli.transfer.files import PAGE_BYTES, _descend, read_page
from tmws_cli.transfer.importing import Import
from tmws_cli.transfer.lines import JsonLines
from tmws_cli.transfer.markdown import SECTION_BYTES, sections
from tmws_cli.transfer.pages import MarkdownPages
from tmws_cli.transfer.records import Record, Refusal
from tmws_core.domain.agent import Caller
from tmws_core.errors import InvalidField
from tmws_core.messages.memory import CreateMemories

BOMB = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9 if n else ['x'])}]\n" for n in range(9))

REFUSED: dict[str, bytes] = {
    "alias.md": f"---\n{BOMB}---\ntext\n".encode(),
    "base-60.md": b"---\na: " + b"1:" * 300_000 + b"1\n---\nNumbers to the base of sixty.\n",
    "binary.md": b"text\0text",
    "deep.md": b"---\na: " + b"[" * 400 + b"]" * 400 + b"\n---\ntext\n",
    "deeper.md": b"---\na: " + b"[" * 100_000 + b"\n---\ntext\n",
    "indented.md": b"---\n" + b"- " * 100_000 + b"a\n---\ntext\n",
    "keys.md": b"---\n" + b"".join(b"k%d: 1\n" % n for n in range(1_000_000)) + b"---\ntext\n",
    "latin-1.md": "line\nZürich".encode("latin-1"),
    "metadata.md": b"---\na: " + b"x" * 20_000 + b"\n---\ntext\n",
    "open.md": b"---\na: [\n---\ntext\n",
    "own.md": b'---\ntmws: 1\ntitle: "\\ud800"\n---\n\ntext\n',
    "python.md": b"---\na: !!python/object/apply:os.system ['touch owned']\n---\ntext\n",
    "twice.md": b"---\na: 1\na: 2\n---\ntext\n",
    "values.md": b"---\na: [" + b"1," * 25_000 + b"]\n---\ntext\n",
    "wide.md": "text".encode("utf-16-le"),
}

STORED: dict[str, bytes] = {
    "bidi.md": "Bidi \u202egnp.exe\u202c override.\n".encode(),
    "bom.md": b"\xef\xbb\xbf---\r\ntags: [bom]\r\n---\r\nByte order mark and line ends.\r\n",
    "early.md": b"---\nat: 0001-01-01T00:00:00+14:00\noccurred_at: 0001-01-01T00:00:00+14:00\n---\nYear one.\n",
    "heading.md": b"# " + b"a " * 60_000 + b"\nA long heading.\n",
    "infinite.md": b"---\na: .nan\nb: [-.inf, 1e999, 99999999999999999999999]\n---\nNo numbers of JSON.\n",
    "note.markdown": b"Another suffix.\n",
    "NOTE.MD": b"In capitals.\n",
    "note.md": b"In small letters.\n",
    "surrogate.md": b'---\ntitle: "a \\ud800 b"\n"\\udc00": "\\0 \\e"\n---\nA lone surrogate.\n',
    "tags.md": b"---\ntags: !!set {b, a}\n---\nA set.\n",
    "utf-16.md": "Wide characters.\n".encode("utf-16"),
    "\udcff.md": b"A name that is no text.\n",
    "new\nline\x1b[31m.md": b"A name with a line break.\n",
    "x.md/inner.md": b"In a folder named like a page.\n",
}


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Inside(tmp_path).using(TMWS_ONNX_MODEL_DIR="missing")


def exported(command: Command) -> list[dict[str, Any]]:
    return [json.loads(line) for line in command.ok("export", "-").out.removesuffix("\n").split("\n")]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A folder with every kind of file."""
    folder = tmp_path / "notes"
    for name, content in (REFUSED | STORED).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (tmp_path / "secret.md").write_text("Outside.", encoding="utf-8")
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "other.md").write_text("Also outside.", encoding="utf-8")
    (folder / "sub").mkdir()
    (folder / "sub" / "up").symlink_to(folder)
    (folder / "sub" / "outer").symlink_to(tmp_path / "outer")
    (folder / "dangling.md").symlink_to("nowhere.md")
    (folder / "endless.md").symlink_to("/dev/zero")
    (folder / "folder.md").symlink_to(tmp_path / "outer")
    (folder / "loop.md").symlink_to("loop.md")
    (folder / "outside.md").symlink_to(tmp_path / "secret.md")
    (folder / "sub" / "inside.md").symlink_to(folder / "note.md")
    os.mkfifo(folder / "pipe.md")
    with (folder / "sparse.md").open("wb") as sparse:
        sparse.truncate(1024**3)
    return folder


IRREGULAR = {"dangling.md", "endless.md", "folder.md", "loop.md", "outside.md", "pipe.md", "sparse.md"}


def test_every_bad_file_is_refused_by_itself(command: Command, notes: Path) -> None:
    done = command.run("import", str(notes), "--json")
    assert done.code == 1, done
    assert {each["place"].split(":")[0] for each in done.answer["refusals"]} == {*REFUSED, *IRREGULAR}
    assert done.answer["refused"] == len(REFUSED) + len(IRREGULAR)
    assert "Traceback" not in done.err
    stored = exported(command)
    texts = "\n".join(memory["content"] for memory in stored)
    missing = [n for n, raw in STORED.items() if n != "utf-16.md" and raw.decode().splitlines()[-1] not in texts]
    assert missing == []
    assert "Wide characters." in texts
    assert "utside" not in texts
    assert not (command.directory / "owned").exists()
    assert all("\x1b" not in memory["source"] and "\n" not in memory["source"] for memory in stored)
    assert len(done.err.splitlines()) == done.answer["refused"]
    assert [each["place"] for each in done.answer["skips"]] == ["sub/outer"]


def test_summary_names_what_was_refused_and_where(command: Command, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text(f"---\nk: 1\n---\n# A\n\none\n\n# {'b' * 300}\n\ntwo\n", encoding="utf-8")
    (tmp_path / "notes" / "b.md").write_text("---\nk: 1\nl: [\n---\ntext\n", encoding="utf-8")
    (tmp_path / "notes" / "c.md").write_bytes(b"one\ntwo \xff\n")
    done = command.run("import", "notes")
    assert done.code == 1
    assert done.out.splitlines() == ["Stored 2, already there 0, refused 2", "Refused: b.md, c.md"]
    first, second = sorted(line for line in done.err.splitlines() if line.startswith("error: "))
    assert first.startswith("error: b.md: front matter: is no YAML: line 4: ")
    assert second == "error: c.md: is no UTF-8 (name its encoding with --encoding): line 2, byte 9 of it"


def test_files_that_may_not_be_read_are_refused(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    (folder / "closed").mkdir(parents=True)
    (folder / "closed" / "inner.md").write_text("Never read.", encoding="utf-8")
    for name in ("bad.md", "good.md"):
        (folder / name).write_text(f"The {name} one.", encoding="utf-8")
    (folder / "bad.md").chmod(0)
    (folder / "closed").chmod(0)
    try:
        done = without_the_rights_of_root(command).run("import", "notes", "--json")
    finally:
        (folder / "closed").chmod(0o700)
    assert done.code == 1
    assert done.answer["stored"] == 1
    assert {each["place"]: each["message"] for each in done.answer["refusals"]} == {
        "closed": "cannot be read (Permission denied)",
        "bad.md": "cannot be read (Permission denied)",
    }


def test_file_that_vanishes_or_changes_after_it_was_found_is_refused(tmp_path: Path) -> None:
    for name in ("a.md", "b.md", "c.md"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    (tmp_path / "target").write_text("Outside.", encoding="utf-8")
    source = MarkdownPages.at(tmp_path, ignore_unknown=False)
    (tmp_path / "a.md").unlink()
    (tmp_path / "b.md").unlink()
    (tmp_path / "b.md").symlink_to("/etc/hostname")
    first, second, third = source
    assert isinstance(first, Refusal)
    assert first.place == "a.md"
    assert isinstance(second, Refusal)
    assert "leads out of the folder" in second.reason
    assert isinstance(third, Record)


@pytest.mark.parametrize("format_", ["auto", "markdown"])
def test_path_that_is_no_regular_file_is_an_error_that_names_the_remedy(command: Command, format_: str) -> None:
    os.mkfifo(command.directory / "pipe")
    for path in ("pipe", "/dev/zero"):
        done = command.run("import", path, "--format", format_)
        assert done.code == 2
        assert "is no regular file. Give `-`" in done.err


def test_bad_json_lines_are_refused_by_themselves(command: Command) -> None:
    bad = [
        b'{"content": "x", "history": 5}',
        b'{"content": "x", "history": {"content": "y"}}',
        b'{"content": "x", "history": [[]]}',
        b'{"content": "x", "metadata": ' + b'{"a":' * 200 + b"1" + b"}" * 201,
        b"[" * 1_000_000,
        b'{"content": "x", "importance": NaN}',
        b'{"content": "\\ud800"}',
        b'{"content": "a\\u0000b"}',
        b'{"content": "x", "occurred_at": "0001-01-01T00:00:00+14:00"}',
        b'{"content": "x", "shared_with": [{"agent_id": []}]}',
        b'{"content": "x", "id": 1, "history": [{"content": "' + b"y" * 70_000 + b'"}]}',
        b'{"content": "x", "id": 2, "history": [{"content": "y"}, {"content": "' + b"z" * 70_000 + b'"}]}',
        '{"content": "x"}'.encode("utf-16-le"),
        b'{"content": "x", "name\\nerror: forged": 1}',
        b'{"content": "x", "content": "y"}',
        b"\0" * 3_000_000,
        b'{"content": "torn',
    ]
    good = [b'{"content": "good %d"}' % number for number in range(len(bad))]
    source = b"\n".join(line for pair in zip(good, bad, strict=True) for line in pair)
    done = command.run("import", "-", "--json", stdin=source)
    assert done.code == 1, done
    places = {each["place"] for each in done.answer["refusals"]}
    assert places == {f"line {2 * number + 2}" for number in range(len(bad))}
    texts = {memory["content"] for memory in exported(command)}
    assert {line["content"] for line in map(json.loads, good)} <= texts
    assert not any(line.startswith("error: forged") for line in done.err.splitlines())


@pytest.mark.anyio
@pytest.mark.parametrize("strict", [False, True])
async def test_defect_that_one_memory_meets_refuses_that_one(
    home: Path, monkeypatch: pytest.MonkeyPatch, *, strict: bool
) -> None:
    chosen = load_settings(stacked({"TMWS_HOME": str(home), "TMWS_ONNX_MODEL_DIR": "missing"}), dotenv=None)
    lines = io.BytesIO(b'{"content": "one"}\n{"content": "met"}\n{"content": "two"}\n')
    async with open_app(chosen) as app:
        call = app.call

        async def defective(caller: Caller, request: Any) -> Any:
            if isinstance(request, CreateMemories) and any(each.content == "met" for each in request.memories):
                raise ZeroDivisionError("a defect")
            return await call(caller, request)

        monkeypatch.setattr(app, "call", defective)
        caller = chosen.operator(transport="cli")
        run = Import(app=app, caller=caller, strict=strict, on_refusal=lambda _: None)
        tally = await run.run(JsonLines(lines, None, False), lambda _position, _memories: None)  # noqa: FBT003
    assert tally.refusals == [Refusal(place="line 2", reason="cannot be taken (ZeroDivisionError: a defect)")]
    assert tally.refused == 1
    assert tally.stored == (1 if strict else 2)


def test_pages_take_time_that_grows_with_their_length() -> None:
    # Each took minutes or more where the time grew with the square of the length.
    for text in (
        "# " + " " * 2_000_000 + "a",
        "# " + "a #" * 1_000_000,
        "\n\n".join("a" * 1_000_000),
        "a" * PAGE_BYTES,
        "\n" + " \t" * 1_000_000,
        "- a\n---\n" * 100_000,
    ):
        assert sum(len(section.text) for section in sections(text)) <= len(text)


def test_heading_that_is_too_long_to_be_repeated_is_text() -> None:
    long = "b" * (HEADING_CHARACTERS + 1)
    found = [
        (section.headings, section.text, section.line)
        for section in sections(f"# A\n\n## {long}\n\none\n\n## C\n\ntwo")
    ]
    assert found == [(("A",), f"## {long}\n\none", 1), (("A", "C"), "two", 7)]


_YAML = st.recursive(
    st.sampled_from(
        ["1", "yes", "~", "2024-07-01", "0001-01-01T00:00:00+14:00", "!!binary x", "*a", "&a b", ".nan", "'"]
    )
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(inner, inner, max_size=3).map(
            lambda d: "{" + ", ".join(f"{k}: {v}" for k, v in d.items()) + "}"
        )
    ),
    max_leaves=6,
)
_NAMES = st.sampled_from(
    ["tags", "metadata", "importance", "source", "occurred_at", "tmws", "history", "shared_with", "title", "namespace"]
)
_FRONTS = st.lists(st.tuples(_NAMES | st.text(max_size=5), _YAML), max_size=5).map(
    lambda pairs: "---\n" + "".join(f"{name}: {value}\n" for name, value in pairs) + "---\n"
)
_PAGES = st.binary(max_size=200) | st.tuples(_FRONTS, st.text(max_size=40)).map(
    lambda page: "".join(page).encode("utf-8", "surrogatepass")
)


@settings(max_examples=200, deadline=None)
@given(_PAGES)
def test_whatever_a_page_holds_it_is_taken_or_refused(tmp_path_factory: pytest.TempPathFactory, page: bytes) -> None:
    folder = tmp_path_factory.mktemp("notes")
    for name, content in (("a.md", b"Before."), ("b.md", page), ("c.md", b"Behind.")):
        (folder / name).write_bytes(content)
    found = list(MarkdownPages.at(folder, ignore_unknown=False))
    texts = [item.request.content for item in found if isinstance(item, Record)]
    assert (texts[0], texts[-1]) == ("a\n\nBefore.", "c\n\nBehind.")
    assert all(len(text.encode()) <= 2 * SECTION_BYTES or b"tmws" in page for text in texts)


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = st.sampled_from(
    ["content", "history", "shared_with", "metadata", "id", "superseded_by", "created_at", "tags"]
)
_LINES = st.binary(max_size=60).filter(lambda line: b"\n" not in line) | st.dictionaries(
    _FIELDS, _JSON, max_size=5
).map(lambda fields: json.dumps(fields).encode())


@settings(max_examples=200, deadline=None)
@given(_LINES)
def test_whatever_a_line_holds_it_is_taken_or_refused(tmp_path_factory: pytest.TempPathFactory, line: bytes) -> None:
    path = tmp_path_factory.mktemp("lines") / "memories.jsonl"
    path.write_bytes(b'{"content": "before"}\n' + line + b'\n{"content": "behind"}\n')
    with path.open("rb") as file:
        first, *between, last = JsonLines(file, None, False)  # noqa: FBT003 - attrs' order
    assert isinstance(first, Record)
    assert isinstance(last, Record)
    assert len(between) <= 1


def notes_of_other_programs() -> Iterator[Any]:
    """Yield front matter as people and programs write it, and the fields that it means."""
    yield "tags: 2024", {"tags": ["2024"]}
    yield "tags: null", {}
    yield "tags:\n  -", {}
    yield "tags: []", {}
    yield "tags: [2024, true]", {"tags": ["2024", "true"]}
    yield 'tags: ["#project/alpha", yes]', {"tags": ["project/alpha", "yes"]}
    yield "tags: one, two,, one", {"tags": ["one", "two"]}
    yield "tags: {a: b}", {"metadata": {"tags": {"a": "b"}}}
    yield f"tags: [{'x' * 70}, y]", {"tags": ["y"], "metadata": {"tags": ["x" * 70]}}
    yield "importance: high", {"metadata": {"importance": "high"}}
    yield "importance: 5", {"metadata": {"importance": 5}}
    yield 'importance: "0.7"', {"importance": 0.7}
    yield "occurred_at: 2024-07-01", {"occurred_at": "2024-07-01T00:00:00Z"}
    yield "occurred_at: 2024-07-01 12:30", {"occurred_at": "2024-07-01T12:30:00Z"}
    yield "occurred_at: last summer", {"metadata": {"occurred_at": "last summer"}}
    yield "source: https://example.org/tides?id=7", {"metadata": {"source": "https://example.org/tides?id=7"}}
    yield "session_id: a\nsequence: 7\ncontent: b", {"metadata": {"session_id": "a", "sequence": 7, "content": "b"}}
    yield "namespace: My notes!", {"metadata": {"namespace": "My notes!"}}
    yield "memory_type: Procedural", {"memory_type": "procedural"}
    yield "shared_with: [bob]\ntmws: yes", {"metadata": {"shared_with": ["bob"], "tmws": "yes"}}
    yield "access_level: friends", {"metadata": {"access_level": "friends"}}
    yield "metadata: word\nother: 1", {"metadata": {"metadata": "word", "other": 1}}
    yield "metadata: {a: 1}\na: 2\nb: 3", {"metadata": {"a": 1, "b": 3}}


def test_labels_of_other_programs_are_kept_in_one_way_or_another(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    cases = list(notes_of_other_programs())
    for number, (front, _) in enumerate(cases):
        (folder / f"{number:02}.md").write_text(f"---\n{front}\n---\nNote {number}.\n", encoding="utf-8")
    (folder / "form.md").write_text("# Text\n\nPage one\x0cpage two about ferries.\n", encoding="utf-8")
    done = command.run("import", "notes", "--json")
    assert (done.code, done.answer["stored"]) == (0, len(cases) + 1), done
    *stored, form = exported(command)
    for (front, fields), memory in zip(cases, stored, strict=True):
        told = {name: memory.get(name) for name in ("occurred_at", "importance", "memory_type", "tags", "metadata")}
        plain: dict[str, Any] = {
            "occurred_at": None,
            "importance": 0.5,
            "memory_type": "semantic",
            "tags": [],
            "metadata": {},
        }
        assert told == plain | fields, front
        assert memory["access_level"] == "private"
    assert form["content"] == "Text\n\nPage one\npage two about ferries."


@pytest.mark.timeout(20)
def test_what_became_a_link_or_a_pipe_after_it_was_found_is_not_followed_or_waited_for(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    for folder in (outside, root):
        folder.mkdir()
    (outside / "page.md").write_text("Outside.", encoding="utf-8")
    (root / "page.md").symlink_to(outside / "page.md")
    (root / "folder").symlink_to(outside)
    os.mkfifo(root / "pipe")
    for below in ("page.md", "folder/page.md"):
        with pytest.raises(OSError, match=below.partition("/")[0]):
            os.close(_descend(root, Path(below)))
    os.close(_descend(root, Path("pipe")))


def test_page_that_is_written_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("Half.", encoding="utf-8")
    look = os.fstat

    def grow(file: int) -> os.stat_result:
        found = look(file)
        with page.open("a", encoding="utf-8") as writer:
            writer.write("More.")
        return found

    monkeypatch.setattr(os, "fstat", grow)
    with pytest.raises(InvalidField, match="was changed while it was read"):
        read_page(page, tmp_path)
