"""H9: what people and data say goes into generated files as text, and never as structure of theirs."""

import json
import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import yaml

from modelwright.core import package_codec as codec
from modelwright.core.table import Table
from modelwright.pack import Evidence, build
from modelwright.pack.card import card_of
from modelwright.pack.card_forms import as_json, html, markdown
from modelwright.testing.framework import LinearFramework, Weights

EVIL = [
    "a\nlicense: mit",
    "---\nlicense: mit\n---",
    "$(touch canary)",
    "`touch canary`",
    "x; touch canary #",
    "*anchor",
    "&anchor x",
    "!!python/object/apply:os.system ['touch canary']",
    "{{ 7*7 }}",
    "{% raw %}",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "](javascript:alert(1))",
    "| a | b |\n|---|---|",
    "\r\nSet-Cookie: a=b",
    "<<: *default",
    "\u202eevil",
    "a\u2028b",
    "# title",
    "'; drop table versions; --",
    "--index-url=https://example.org",
    "%2e%2e%2f",
    "\x1b[31mred",
    "<!-- -->",
    "]]>",
]
PLACES = ["purpose", "owner", "license", "data", "limits", "target", "column", "class"]
HEADS = re.compile(r"^#+ ", re.MULTILINE)


def packed(place, text):
    values = np.linspace(0, 1, 20)
    column = text if place == "column" else "a"
    examples = Table({column: values, "b": values[::-1].copy()})
    target = text if place == "target" else "y"
    made = LinearFramework().convert(Weights((column, "b"), (1.0, 2.0)), examples, target=target)
    made = replace(made, model_class=text if place == "class" else "Weights")
    said = Evidence(**{place: text}) if place in {"purpose", "owner", "license", "data", "limits"} else Evidence()
    return build(made, name="m", examples=examples, evidence=said, created_at="2026-01-01T00:00:00+00:00")


def structure(value):
    """Keys and kinds, without the words."""
    if isinstance(value, dict):
        return {key: structure(inner) for key, inner in value.items()}
    return [structure(inner) for inner in value] if isinstance(value, list) else type(value).__name__


@pytest.mark.parametrize(("place", "text"), list(product(PLACES, EVIL)))
def test_h9_generated_files_say_the_words_back_and_take_no_structure_from_them(place, text):
    evil, plain = packed(place, text), packed(place, "plain")
    for name in (codec.MLMODEL, codec.CONDA, codec.PYTHON_ENVIRONMENT):
        held, wanted = (yaml.safe_load(package.read(name)) for package in (evil, plain))
        assert structure(held) == structure(wanted), name
    assert evil.read(codec.REQUIREMENTS) == plain.read(codec.REQUIREMENTS)
    bom = [structure(json.loads(package.read(codec.BOM))) for package in (evil, plain)]
    assert bom[0] == bom[1]
    cards = [card_of(package) for package in (evil, plain)]
    assert structure(as_json(cards[0])).keys() == structure(as_json(cards[1])).keys()
    page, other = (html(card) for card in cards)
    assert len(re.findall(r"<[a-z/!]", page)) == len(re.findall(r"<[a-z/!]", other))
    front, rest = (markdown(cards[0]).split("\n---\n", 1), markdown(cards[1]).split("\n---\n", 1))
    assert yaml.safe_load(front[0].removeprefix("---\n")).keys() == yaml.safe_load(rest[0].removeprefix("---\n")).keys()
    assert len(HEADS.findall(front[1])) == len(HEADS.findall(rest[1]))
