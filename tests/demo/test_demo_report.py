from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from math import log
from pathlib import Path
from typing import Any

import pytest

from modelwright.adapters.charts import altair
from modelwright.demo import report as reporting
from modelwright.demo.year import Year

LEDGER = {"verified": True, "entries": 12}


@pytest.fixture
def figures(year: Year, predictions: Path) -> dict[str, Any]:
    return reporting.report(year, reporting.monthly(predictions), LEDGER)


def test_both_services_are_scored_on_the_flights_that_have_a_truth_and_both_answers(predictions: Path) -> None:
    march, april = reporting.monthly(predictions)
    assert (march["rows"], march["unpaired"]) == (2, 1)  # the canary's flight has no answer of version 1
    assert (april["rows"], april["unpaired"]) == (3, 1)  # one flight is still in the air
    assert (march["base_rate"], april["base_rate"]) == (0.5, pytest.approx(2 / 3))


def test_log_loss_and_auc_are_those_of_the_paired_rows(predictions: Path) -> None:
    march, april = reporting.monthly(predictions)
    assert march["log_loss_static"] == march["log_loss_maintained"] == pytest.approx(-log(0.75))
    assert april["log_loss_maintained"] == pytest.approx(-(log(0.8) + log(0.9) + log(0.6)) / 3)
    assert april["log_loss_static"] == pytest.approx(-(log(0.6) + log(0.3) + log(0.5)) / 3)
    assert (april["auc_maintained"], april["auc_static"]) == (1.0, 0.5)


def test_a_flight_belongs_to_the_month_in_which_new_york_saw_it(predictions: Path) -> None:
    assert [row["month"] for row in reporting.monthly(predictions)] == ["2013-03", "2013-04"]


def test_the_report_joins_scores_with_what_happened_and_judges_from_april(figures: dict[str, Any]) -> None:
    march, april = figures["months"]
    assert (march["findings"], march["renewals"], march["promotions"], april["refusals"]) == (2, 1, 1, 1)
    assert figures["mean_log_loss_maintained"] == april["log_loss_maintained"]
    assert (figures["months_judged"], figures["months_better_log_loss"], figures["months_better_auc"]) == (1, 1, 1)
    assert (figures["unpaired"], figures["predictions_per_second"], figures["ledger_entries"]) == (2, 14.0, 12)
    assert json.loads(json.dumps(figures)) == figures


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({}, True),
        ({"mean_log_loss_maintained": 9.0}, False),
        ({"ledger_verified": False}, False),
        ({"broken_candidate": {"stopped_by": "canary"}}, True),
        ({"broken_candidate": {"stopped_by": "nothing"}}, False),
        ({"broken_candidate": {}}, False),
    ],
)
def test_the_demo_succeeds_when_it_won_stopped_the_broken_one_and_the_ledger_holds(
    figures: dict[str, Any], change: dict[str, Any], *, good: bool
) -> None:
    assert reporting.succeeded({**figures, **change}) is good


class _Page(HTMLParser):
    """The text, and whatever would be fetched from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.fetched = "", list[str]()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        outside = [value for name, value in attributes if name in {"src", "href"} and not (value or "").startswith("#")]
        self.fetched += [tag] * (bool(outside) or tag in {"script", "link", "iframe"})

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_holds_every_figure_and_fetches_nothing(figures: dict[str, Any]) -> None:
    page = _Page()
    page.feed(reporting.html(figures))
    april = figures["months"][1]
    for shown in (
        *(f"{april[f'log_loss_{who}']:.4f}" for who in ("static", "maintained")),
        *("March", "April", "66.7%", "within-training: temp: 100% of the rows lie outside 1 to 2."),
        *("2 findings; renewal promoted", "stopped", "verified", "ledger, 12 entries"),
    ):
        assert shown in page.text
    assert page.fetched == []


def test_texts_in_the_page_are_escaped(figures: dict[str, Any]) -> None:
    page = reporting.html(figures)
    assert "&lt;b&gt;carrier&lt;/b&gt; is new." in page
    assert "<b>carrier" not in page


def test_a_broken_candidate_that_got_through_is_shown_as_such(figures: dict[str, Any]) -> None:
    figures["broken_candidate"] = {"stopped_by": "nothing", "reason": "No evidence against it."}
    page = reporting.html(figures)
    assert "LET IN" in page
    assert "No evidence against it." in page


def test_the_charts_name_the_maintained_and_the_static_service(figures: dict[str, Any]) -> None:
    drawn = reporting.charts(figures["months"])
    assert len(drawn) == 3
    for chart in drawn[:2]:
        assert {"maintained", "static (never renewed)", "Mar"} <= set(re.findall(r">([^<>]+)</text>", chart["svg"]))


def test_without_the_charts_extra_the_page_is_whole(figures: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(altair, "available", lambda: False)
    page = reporting.html(figures)
    assert "<svg" not in page
    assert "By month" in page


def test_the_report_is_written_as_json_and_as_a_page(figures: dict[str, Any], tmp_path: Path) -> None:
    reporting.write(figures, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == figures
    assert (tmp_path / "report.html").read_text() == reporting.html(figures)
