"""The demonstration answers from the project's own documentation."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.shells.command import Command
from tests.shells.traced import Watched, python
from tmws_cli.admin import is_temporary, program

RIGHT_PAGES = {
    "How do I connect Claude Code?": "how-to/connect-a-client.md",
    "What happens to my memories when Ollama is down?": "explanation/durability.md",
    "Who can read a private memory?": "explanation/access.md",
}


def test_each_question_finds_the_right_page_and_the_home_stays_untouched(watched: Watched) -> None:
    code, said, seen = watched.run(python("-m", "tmws_cli", "demo", "--json"))
    assert code == 0, said
    assert {answer["question"]: answer["page"] for answer in json.loads(said)["answers"]} == RIGHT_PAGES
    assert list(watched.home.iterdir()) == []
    watched.check(seen)


def test_demo_says_what_it_found_and_how_to_go_on(tmp_path: Path) -> None:
    # Without an embedder the search is by words only, and the demonstration is over in no time.
    done = Command(tmp_path).using(TMWS_ONNX_MODEL_DIR="missing").ok("demo")
    assert all(f"? {question}" in done.out for question in RIGHT_PAGES)
    assert re.search(r"claude mcp add tmws -- (\S+/)?tmws\n", done.out)


def test_program_is_named_shortly_where_the_path_leads_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, linked, other = (tmp_path / name / "tmws" for name in ("own", "linked", "other"))
    for place in (own, linked, other):
        place.parent.mkdir()
    for place in (own, other):
        place.touch(0o755)
    linked.symlink_to(own)
    monkeypatch.setattr(sys, "executable", str(own.with_name("python")))
    monkeypatch.setattr(sys, "prefix", str(own.parent))
    (own.parent / "CACHEDIR.TAG").touch()
    for found, said in ((linked, "tmws"), (own, str(own)), (other, str(own))):
        monkeypatch.setenv("PATH", str(found.parent))
        assert (program(), is_temporary()) == (said, False)
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setenv("PATH", str(own.parent))
    assert program() == "tmws"
    monkeypatch.setattr(sys, "prefix", str(own.parent))
    (tmp_path / "CACHEDIR.TAG").touch()  # of uv, in whose cache uvx runs
    assert (program(), is_temporary()) == ("tmws", True)
