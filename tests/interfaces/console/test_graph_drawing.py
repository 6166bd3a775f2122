"""The drawing of a graph on the pages."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from modelwright.core import package_codec
from modelwright.core.access import Act
from modelwright.core.graph import Case, Ensemble, Fallback, Graph, Member, Node, Switch
from modelwright.core.version import Lineage
from modelwright.interfaces.console import drawing as drawn
from modelwright.interfaces.console.app import console_app
from modelwright.ports.platform import Platform
from modelwright.testing.workflow import InlineWorkflow

STYLE = Path(drawn.__file__).parent / "static" / "style.css"


def _model(source: str = "a.mw") -> Node:
    return Node(model=Member("0" * 64, source))


def _graph() -> Graph:
    return Graph(
        "safe",
        {
            "small": _model(),
            "large": _model("large <script>.mw"),
            "both": Node(ensemble=Ensemble(("small", "large"), "mean", (1.0, 3.0))),
            "by-hour": Node(switch=Switch("hour", (Case("both", high=6.0), Case("both", low=22.0)), "large")),
            "safe": Node(fallback=Fallback("by-hour", "small", 50.0)),
        },
    )


def test_the_drawing_is_xml_without_styles_scripts_and_references_and_says_the_same_in_words() -> None:
    svg = str(drawn.drawing(_graph(), title="The graph of <flights>"))
    root = ET.fromstring(svg)
    assert root.attrib["role"] == "img"
    assert not re.search(r"<script|<style|style=|href|on\w+=", svg)
    words = root.find("desc")
    assert words is not None
    assert "mean of small (1), large (3)" in (words.text or "")
    assert "safe answers." in (words.text or "")


def test_every_node_is_a_box_and_one_that_is_used_again_is_not_unfolded_again() -> None:
    boxes = drawn.boxes(_graph())
    assert [(box.name, box.depth) for box in boxes] == [
        ("safe", 0),
        ("by-hour", 1),
        ("both", 2),
        ("small", 3),
        ("large", 3),
        ("both", 2),
        ("large", 2),
        ("small", 1),
    ]
    assert (boxes[2].edge, boxes[5].edge, boxes[5].says) == ("if below 6", "if from 22", "as above")


@given(st.integers(1, 31), st.text(min_size=0, max_size=300))
def test_the_drawing_stays_within_its_box_however_deep_and_wordy(depth: int, text: str) -> None:
    nodes = {"n0": _model("".join(c for c in text if c.isprintable()))}
    for index in range(1, depth + 1):
        nodes[f"n{index}"] = Node(fallback=Fallback(f"n{index - 1}", "n0"))
    root = ET.fromstring(str(drawn.drawing(Graph(f"n{depth}", nodes), title="t")))
    _, _, width, height = (float(part) for part in root.attrib["viewBox"].split())
    for rect in root.iter("rect"):
        assert float(rect.attrib["x"]) >= 0
        assert float(rect.attrib["x"]) + float(rect.attrib["width"]) <= width
        assert float(rect.attrib["y"]) + float(rect.attrib["height"]) <= height
        assert float(rect.attrib["width"]) > 200


def test_the_colours_are_the_pages_own() -> None:
    rules = [line for line in STYLE.read_text().splitlines() if "svg.graph" in line]
    assert rules
    assert not re.search(r"(fill|stroke): *#", "".join(rules))


@pytest.mark.parametrize("path", ["/models/mix", "/models/mix/versions/1"])
def test_the_pages_of_a_graph_show_it(
    platform: Platform, workflow: InlineWorkflow, graph_package, linear_package, path: str
) -> None:
    package = graph_package(
        "mix",
        {
            "one": linear_package("one", ("a",), (1.0,)),
            "two": linear_package("two", ("a", "b"), (1.0, 2.0)),
            "mean": Node(ensemble=Ensemble(("one", "two"), "mean", (1.0, 1.0))),
        },
        "mean",
    )
    digest = package_codec.store(package, platform.blobs.put)
    platform.versions.register("mix", digest, lineage=Lineage(), verdict={}, act=Act("nadia"))
    page = TestClient(console_app(platform, workflow, authenticate=False), base_url="http://127.0.0.1:8081").get(path)
    assert page.status_code == 200
    assert '<svg class="graph"' in page.text
    assert "mean (ensemble): mean of one (1), two (1)" in page.text
    assert "modelwright record query mix/mean" in page.text
