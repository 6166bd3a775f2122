"""Verdicts that were kept before there were slices stay readable; the code of then wrote ``verdicts/first.json``."""

import json
from dataclasses import asdict
from pathlib import Path

from modelwright.check import verdict_from_json
from modelwright.pack.card_slices import fairness_section, slice_sections

BODY = json.loads((Path(__file__).parent / "verdicts" / "first.json").read_text())


def test_a_verdict_of_before_slices_is_read_whole_and_measured_no_slices():
    verdict = verdict_from_json(BODY)
    assert verdict.slices == ()
    held = asdict(verdict) | {"passed": verdict.passed}
    del held["slices"]
    assert json.loads(json.dumps(held)) == BODY


def test_its_card_says_that_slices_were_not_measured():
    (section,) = slice_sections("flight-delay", "binary", BODY)
    assert section.text.startswith("not measured. `modelwright check flight-delay.mw")
    assert "not measured" in fairness_section("", "flight-delay", "binary", BODY).after
