"""Tables of other programs: each row is one memory or one refusal, whatever its cells hold."""

import json
from pathlib import Path

import pytest

from tests.shells.inside import Inside
from tests.shells.test_other_programs import lines, memories, read
from tmws_cli.transfer.elements import ELEMENT_BYTES
from tmws_cli.transfer.records import Record, Refusal


def test_no_line_of_a_cell_is_taken_for_a_row() -> None:
    log = "\n".join(["one line of many", "with, a comma"] * 5000)
    name, items = read(f'content,tags\n"{log}",log\nbehind,log\n'.encode())
    assert name == "CSV"
    assert len(log) > 128 * 1024
    *pieces, behind = (item.request.content for item in items if isinstance(item, Record))
    assert ("\n".join(pieces), len(pieces), behind) == (log, 3, "behind")


@pytest.mark.parametrize(
    ("rows", "place", "words"),
    [
        (b'"torn,b\nnever read,c\n', "line 3", "nothing closes"),
        (b'"torn,b\nswallowed,c\n"d",e\nlast,f\n', "line 3", "do not match, up to line 5"),
        (b'"' + b"x" * ELEMENT_BYTES + b"\nnever read,c\n", "line 3", "is longer than"),
    ],
)
def test_a_row_whose_cells_do_not_end_is_refused_by_the_line_where_it_begins(
    rows: bytes, place: str, words: str
) -> None:
    _, items = read(b'text,tags\n5" pipe,a\n' + rows)
    [refusal] = [item for item in items if isinstance(item, Refusal)]
    assert refusal.place == place
    assert words in refusal.reason
    texts = [item.request.content for item in items if isinstance(item, Record)]
    assert texts == ['5" pipe', "last"] if b"last" in rows else ['5" pipe']


def test_columns_of_one_name_are_all_taken() -> None:
    [row] = memories(b'text,tags,city,city,tags\nx,"a;b",Oslo,Bergen,"[""c""]"\n', "CSV")
    assert row.tags == ("a", "b", "c")
    assert row.metadata == {"city": "Oslo", "city (column 4)": "Bergen"}


@pytest.mark.parametrize("written", ["['a', 'b']", "[a, b]", "{a,b}", '["a","b",]', "a;b"])
def test_tags_are_read_however_their_list_is_written(written: str) -> None:
    [row] = memories(f"text,tags\nx,{json.dumps(written).replace(chr(92), chr(34))}\n".encode(), "CSV")
    [entry] = memories(lines({"text": "x", "tags": written.replace(";", ",")}), "another program")
    assert row.tags == entry.tags == ("a", "b")


def test_tags_that_are_no_list_stay_in_the_metadata() -> None:
    [row] = memories(b"text,tags\nx,['a'\n", "CSV")
    assert (row.tags, row.metadata) == ((), {"tags": "['a'"})


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp932", "処理区分を確認"),
        ("gb18030", "购买牛奶"),
        ("euc-kr", "우유"),
        ("cp1251", "Купить"),
        ("cp1252", "Käse"),
    ],
)
def test_no_encoding_is_guessed(encoding: str, text: str) -> None:
    row, line = f"text,tags\n{text},{text}\n".encode(encoding), json.dumps({"text": text}, ensure_ascii=False)
    for raw in (row, line.encode(encoding)):
        [refusal] = read(raw)[1]
        assert isinstance(refusal, Refusal)
        assert refusal.reason.startswith("is no UTF-8 (name its encoding with --encoding)")
        [record] = read(raw, encoding=encoding)[1]
        assert isinstance(record, Record)
        assert record.request.content == text
    named = f"text,{text}\nx,y\nz,y\n".encode(encoding)
    assert [each.place for each in read(named)[1]] == ["line 1"]
    with pytest.raises(OSError, match="is not in ascii, as --encoding says"):
        read(row, encoding="ascii")


def test_the_encoding_of_files_can_be_named(tmp_path: Path) -> None:
    command = Inside(tmp_path)
    (tmp_path / "note.md").write_bytes("# Köln\n\nStraße\n".encode("cp1252"))
    (tmp_path / "rows.csv").write_bytes("text\nGrüße\n".encode("cp1252"))
    done = command.run("import", "note.md", "rows.csv", "--encoding", "cp1252", "--dry-run", "--json")
    assert [each["content"] for each in done.answer["examples"]] == ["Köln\n\nStraße", "Grüße"]
    assert "no encoding is called base64" in command.run("import", "rows.csv", "--encoding", "base64").err


@pytest.mark.parametrize("name", ["title", "Subject"])
def test_a_title_stands_above_its_text_once(name: str) -> None:
    said = [("Offsite", "Book the boat"), ("Keys", "# Keys\n\nare below"), ("Alone", "")]
    table = f"{name},note\n" + "".join(f'{title},"{text}"\n' for title, text in said)
    objects = [{name.lower(): title, "text": text or None} for title, text in said]
    for found in (memories(table.encode(), "CSV"), memories(lines(*objects), "another program")):
        assert [each.content for each in found] == ["Offsite\n\nBook the boat", "# Keys\n\nare below", "Alone"]
        assert all(each.metadata == {} for each in found)


@pytest.mark.parametrize(
    "raw",
    [
        b"sep=;\r\ntext;tags\r\nMilk, tea;home\r\n",
        b'\xef\xbb\xbf"sep=\t"\r\n\r\ntext\ttags\r\nMilk, tea\thome\r\n',
        b'text,tags\r"Milk, tea",home\r',
        b'\n\ntext,tags\n"Milk, tea",home\n',
        b'"Text" , "Tags"\n"Milk, tea", "home"\n',
    ],
)
def test_a_table_may_begin_as_programs_let_it(raw: bytes) -> None:
    [row] = memories(raw, "CSV")
    assert (row.content, row.tags, row.metadata) == ("Milk, tea", ("home",), {})
