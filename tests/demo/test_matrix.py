"""The matrix of frameworks: no row fails silently, and the page in the documentation holds every combination."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from modelwright import wiring
from modelwright.core.errors import BadInputError
from modelwright.demo.matrix.case import Case, Trained
from modelwright.demo.matrix.catalogue import by_family, chosen
from modelwright.demo.matrix.main import status
from modelwright.demo.matrix.measure import Effort, run_case
from modelwright.demo.matrix.page import machine, page

PAGE = Path(__file__).parents[2] / "docs/reference/frameworks-matrix.md"
QUICK = Effort(rounds=2, seconds=0.001)


@pytest.fixture(scope="module")
def adapters():
    return frozenset(framework.name for framework in wiring.frameworks())


def case(key):
    return next(case for case in chosen(()) if case.key == key)


@pytest.mark.parametrize(
    "key",
    [
        "scikit-learn LogisticRegression on classes",
        "scikit-learn pipeline of columns, HistGradientBoostingClassifier on mixed",
        "scikit-learn RandomForestRegressor of two targets on numbers",
        "XGBoost XGBClassifier on gaps",
        "LightGBM LGBMRegressor of Poisson on counts",
        "ONNX convolution in an .onnx file on images",
    ],
)
def test_a_row_is_packed_opened_compared_on_new_rows_and_timed(key, adapters):
    row = run_case(case(key), QUICK, adapters)
    assert (row.state, row.route, row.code) == ("packed", "ONNX", ""), row
    assert row.new.rows == 100
    assert row.new.difference < 1e-4
    assert 0 < row.packed.low <= row.packed.median <= row.packed.high
    assert row.package_bytes > 500


def test_what_runs_as_code_says_why_and_why_it_is_slower_where_it_is(adapters):
    row = run_case(case("Python function predict on numbers"), QUICK, adapters)
    assert (row.state, row.route) == ("packed", "native")
    assert row.why
    assert row.ratio >= 1 or "process of its own" in row.slower


def test_a_model_that_is_rightly_refused_says_so_with_the_code_and_fails_where_it_is_refused_otherwise(adapters):
    wanted = case("scikit-learn LogisticRegression, not fitted on numbers")
    row = run_case(wanted, QUICK, adapters)
    assert (row.state, row.code, row.why) == ("refused", "pack.not-fitted", "It has learnt nothing.")
    other = run_case(replace(wanted, refused="pack.unpicklable"), QUICK, adapters)
    assert (other.state, other.code) == ("failed", "pack.not-fitted")


def test_a_library_or_an_adapter_that_is_not_there_is_a_row_that_says_so(adapters):
    known = case("scikit-learn Ridge on numbers")
    assert run_case(replace(known, modules=("no_such_library",)), QUICK, adapters).why == (
        "no_such_library is not installed."
    )
    assert run_case(known, QUICK, frozenset()).state == "skipped"


def other_answers(data, folder):
    trained = case("scikit-learn Ridge on numbers").train(data, folder)
    return Trained(trained.model, lambda rows: trained.ask(rows) + 1)


def broken(data, folder):
    raise RuntimeError("no")


@pytest.mark.parametrize(("train", "code"), [(other_answers, "answers-differ"), (broken, "unexpected")])
def test_answers_that_differ_and_libraries_that_break_fail_the_command(train, code, adapters):
    row = run_case(Case("f", "m", "numbers", train, "sklearn", ()), QUICK, adapters)
    assert (row.state, row.code) == ("failed", f"matrix.{code}")
    assert row.message
    assert f"failed: `matrix.{code}`" in page([row], QUICK, machine())
    assert status([row]) == 1
    assert status([replace(row, state="packed")]) == 0


def test_an_unknown_family_names_those_there_are():
    with pytest.raises(BadInputError, match="sklaern") as caught:
        chosen(["sklaern"])
    assert caught.value.code == "matrix.unknown-family"
    assert "scikit-learn" in caught.value.fix
    assert {case.family for case in chosen(["lightgbm"])} == {"LightGBM"}


def test_every_combination_is_one_of_a_kind_and_there_are_more_than_a_hundred():
    keys = [case.key for case in chosen(())]
    assert len(keys) == len(set(keys)) > 100


def test_the_page_in_the_documentation_holds_every_combination_and_none_that_failed():
    text = PAGE.read_text()
    sections = {part.split("\n", 1)[0]: part for part in text.split("\n## ")[1:]}
    for family, cases in by_family().items():
        for known in cases:
            assert f"| {known.model} | {known.data} |" in sections[family], f"{known.key}: make matrix"
    assert "failed" not in text
    told = [line for line in text.splitlines() if line.startswith("- ") and "slower than" in line]
    losers = re.findall(r"^\| (.*?) \| (\w+) \| (?:ONNX|native) .* \| 0\.\d+ \|$", text, flags=re.MULTILINE)
    for model, data in losers:
        assert any(f"{model} on {data}" in line for line in told), model
