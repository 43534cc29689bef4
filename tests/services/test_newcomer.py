"""A newcomer's thirty notes and questions, with the bundled model."""

from pathlib import Path

import pytest

from tests.benchmarks import retrieval

pytestmark = pytest.mark.anyio

NOTES = Path(retrieval.__file__).with_name("newcomer")


async def test_what_has_an_answer_finds_it_first_and_what_has_none_is_told_so() -> None:
    report = await retrieval.measure(NOTES, {"TMWS_EMBEDDER": "onnx"})

    categories = report["by_category"]
    assert isinstance(categories, dict)
    answered, unanswered = categories["answered"], categories["unanswered"]
    assert (answered["queries"], unanswered["queries"]) == (60, 40)
    assert answered["first"] >= 0.9
    assert answered["marked"] <= 0.05
    assert unanswered["marked"] >= 0.6
