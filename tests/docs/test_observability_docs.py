"""The dashboard and the page about metrics name what a server really tells."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from modelwright import settings as settings_module
from modelwright.processes.gateway import Gateway
from modelwright.processes.gateway_options import GatewayOptions
from modelwright.processes.listening import listen

ROOT = Path(__file__).parent.parent.parent
DASHBOARD = ROOT / "docs/reference/grafana-dashboard.json"
PAGE = ROOT / "docs/how-to/observe.md"
NAME = re.compile(r"\bmodelwright_[a-z_]+")
SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Every name that a gateway's metrics have, by family."""

    async def scrape():
        settings = settings_module.load({"home": tmp_path_factory.mktemp("home")}, {})
        with listen("127.0.0.1:0", name="http", insecure=False) as listener:
            (settings.home / "log").mkdir()
            gateway = Gateway(GatewayOptions("127.0.0.1:0"), settings, listener)
            text = gateway._server.metrics.render().decode()
            gateway._predicting.close()
            return text

    families = text_string_to_metric_families(asyncio.run(scrape()))
    return {family.name: {family.name + suffix for suffix in SUFFIXES[family.type]} for family in families}


def queries():
    board = json.loads(DASHBOARD.read_text())
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def test_every_query_of_the_dashboard_names_a_metric_that_exists(told):
    known = set().union(*told.values())
    for query in queries():
        names = set(NAME.findall(query))
        assert names, query
        assert names <= known, query


def test_every_metric_is_on_the_dashboard_or_on_the_page(told):
    said = set(NAME.findall(" ".join(queries()) + PAGE.read_text()))
    missing = [family for family, names in told.items() if not (names | {family}) & said]
    assert missing == []


def test_every_metric_that_the_page_names_exists(told):
    known = set().union(*told.values()) | set(told)
    assert set(NAME.findall(PAGE.read_text())) <= known


def test_no_two_panels_overlap():
    seen = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & seen, panel["title"]
        assert at["x"] + at["w"] <= 24
        seen |= cells
