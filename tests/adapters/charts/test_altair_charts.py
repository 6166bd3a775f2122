from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from modelwright.adapters.charts import altair as charts
from modelwright.core.errors import UnavailableError

ROWS = [
    {"at": f"2013-0{month}-01T00:00:00Z", "version": "1", "value": 0.5, "low": 0.45, "high": 0.55, "rows": 100}
    for month in range(3, 6)
]
INTERVALS: dict[str, Any] = {
    "title": "log loss by place",
    "axis": "log loss",
    "marks": [
        {"name": "<south>", "value": 0.5, "low": 0.4, "high": 0.6, "says": "worse than the rest"},
        {"name": "north", "value": 0.3, "low": 0.2, "high": 0.4, "says": "not told apart"},
    ],
    "line": 0.4,
    "from_zero": False,
}
SPECS = {
    "performance": lambda: charts.performance_spec(ROWS, metric="log loss"),
    "base rate": lambda: charts.base_rate_spec([{"at": row["at"], "value": 0.2} for row in ROWS]),
    "comparison": lambda: charts.comparison_spec(
        [{"at": row["at"], "series": who, "value": 0.5} for row in ROWS for who in ("ours", "theirs")],
        metric="auc",
        series=("ours", "theirs"),
    ),
    "columns": lambda: charts.columns_spec("<temp>", ["low", "high"], [0.5, 0.5], [0.2, 0.8], title="temp"),
    "intervals": lambda: charts.intervals_spec(INTERVALS),
    "traffic": lambda: charts.traffic_spec([{"version": "1", "role": "champion", "requests": 7}]),
}


def test_the_performance_is_one_line_and_a_label_says_where_a_version_begins() -> None:
    rows = [{**ROWS[0], "version": version} for version in ("1", "1", "10", "10", "2")]
    spec = charts.performance_spec(rows, metric="auc")
    (values,) = spec.get("datasets", {"": spec["data"]["values"]}).values()
    assert [row["label"] for row in values] == ["v1", "", "v10", "", "v2"]
    assert not any("color" in layer["encoding"] for layer in spec["layer"])


def test_time_axes_are_in_utc_whatever_the_browsers_zone() -> None:
    for name in ("performance", "base rate", "comparison"):
        assert '"type": "utc"' in json.dumps(SPECS[name]()), name


def test_traffic_shows_the_newest_version_first_and_ten_after_nine() -> None:
    rows = [{"version": version, "role": "champion", "requests": 7} for version in ("1", "10", "2", "9")]
    assert charts.traffic_spec(rows)["encoding"]["y"]["sort"] == ["10", "9", "2", "1"]


@pytest.mark.parametrize("name", SPECS)
def test_a_specification_is_plain_json_with_its_own_data_and_a_description(name: str) -> None:
    spec: dict[str, Any] = SPECS[name]()
    assert json.loads(json.dumps(spec)) == spec
    assert spec["description"]
    assert '"url"' not in json.dumps(spec)


@pytest.mark.parametrize("name", SPECS)
def test_a_specification_becomes_a_static_svg(name: str) -> None:
    svg = charts.to_svg(SPECS[name](), width=300)
    assert svg.startswith("<svg")
    assert "<script" not in svg


def test_the_same_rows_give_the_same_specification() -> None:
    assert charts.performance_spec(ROWS, metric="auc") == charts.performance_spec(ROWS, metric="auc")


def test_markup_in_a_name_is_text_in_the_svg() -> None:
    svg = charts.to_svg(charts.columns_spec("x", ["<script>alert(1)</script>"], [1.0], [1.0]))
    assert "<script>" not in svg


def test_the_bundle_sets_the_function_that_the_pages_call() -> None:
    bundle = charts.javascript_bundle()
    assert b"window.vegaEmbed" in bundle
    assert len(bundle) < 1_000_000


def test_without_the_extra_the_error_names_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(UnavailableError, match=r"modelwright\[console\]"):
        charts.base_rate_spec([])


def test_a_mark_says_by_its_shape_what_its_colour_says() -> None:
    spec = charts.intervals_spec(INTERVALS)
    (encoding,) = (layer["encoding"] for layer in spec["layer"] if "shape" in layer["encoding"])
    assert encoding["shape"]["scale"]["domain"] == encoding["color"]["scale"]["domain"]
    assert len(set(encoding["shape"]["scale"]["range"])) == 2


def test_marks_without_words_have_no_legend_and_no_line_is_drawn_for_none() -> None:
    marks = [mark | {"says": ""} for mark in INTERVALS["marks"]]
    spec = charts.intervals_spec(INTERVALS | {"marks": marks, "line": None})
    assert len(spec["layer"]) == 2
    assert spec["layer"][1]["encoding"]["shape"]["legend"] is None
