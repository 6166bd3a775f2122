from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.errors import UnavailableError
from modelwright.demo import report as reporting
from modelwright.demo.display import Display, lines_of
from modelwright.demo.product import Product
from modelwright.demo.year import Year


@pytest.fixture
def figures(year: Year, predictions: Path) -> dict[str, Any]:
    return reporting.report(year, reporting.monthly(predictions), {"verified": True, "entries": 12})


@given(st.text(max_size=400), st.integers(20, 200))
def test_a_sentence_takes_two_lines_at_most_and_none_is_too_long(text: str, columns: int) -> None:
    lines = lines_of(text, columns)
    assert 1 <= len(lines) <= 2
    assert all(len(line) <= columns for line in lines)


def test_a_sentence_is_cut_between_words_and_its_month_has_a_name() -> None:
    told = "2013-05: 28128 predictions, 8 findings; first: the prediction moved by more than anybody had thought"
    assert lines_of(told, 50) == [
        "May  28128 predictions, 8 findings; first: the",
        "     prediction moved by more than anybody had ...",
    ]


def test_on_a_pipe_a_sentence_is_one_whole_line(capsys: pytest.CaptureFixture[str]) -> None:
    told = "word " * 60 + "[end]"
    Display(as_json=False).say(told)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(" s  " + told)


def test_the_table_fits_eighty_columns_and_its_columns_are_aligned(
    figures: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    wide = [{**figures["months"][0], "rows": 999_999, "findings": 99, "month": f"2013-{n:02d}"} for n in range(3, 13)]
    Display(as_json=False).finish({**figures, "months": wide}, None, Path("build/demo"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    assert max(map(len, lines)) <= 80
    assert [line[:3] for line in lines[2:]] == ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    assert {line.index("999,999") for line in lines[2:]} == {lines[2].index("999,999")}


def test_with_json_standard_output_is_the_figures_and_nothing_else(
    figures: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    display = Display(as_json=True)
    display.say("Reading ...")
    display.finish(figures, None, Path("build/demo"))
    display.verdict(figures, good=True, seconds=1.0)
    assert json.loads(capsys.readouterr().out) == figures


def test_the_last_lines_begin_with_the_outcome(figures: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    Display(as_json=False).verdict(figures, good=False, seconds=203.4)
    lines = capsys.readouterr().err.split("\n")
    assert lines[1] == "FAILED in 203 s: the maintained service beat the static one."
    assert "  broken candidate stopped by gate within-training" in lines


def test_an_error_is_told_with_its_code_and_its_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    Display(as_json=False).fail(UnavailableError("demo.no-data", "No [flights].", fix="Install them."))
    told = capsys.readouterr().err
    assert "[demo.no-data]" in told
    assert "No [flights]." in told


def test_without_a_kept_server_no_address_is_told(
    figures: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Display(as_json=False).finish(figures, Product(tmp_path), tmp_path)
    told = capsys.readouterr().err
    assert str(tmp_path / "report.html") in told
    assert "http://" not in told
