"""Models of both kinds behind one gateway under a budget that holds a few of them; the long run is many_models.py."""

import time

import pytest

from kit.burden import coded
from kit.gateways import Gateway
from many_models import Mixed, package
from modelwright.adapters.stores.package_files import write_zip

MODELS, BUDGET = 16, 120_000_000


@pytest.fixture
def gateway(tmp_path):
    (tmp_path / "models").mkdir()
    for number in range(MODELS):
        made = coded(f"m{number}") if number % 2 else package(f"m{number}", number + 1.0)
        write_zip(made, tmp_path / "models" / f"m{number}.mw")
    started = Gateway(tmp_path / "home", ["--models", tmp_path / "models", "--no-auth"], {"memory_budget": BUDGET})
    started.wait_ready()
    yield started
    assert started.stop() == 0


def test_models_of_both_kinds_answer_within_a_budget_for_few_and_give_their_memory_back(gateway):
    served = Mixed(gateway, MODELS)
    for _ in range(2):
        assert len(served.answers(range(MODELS))) == MODELS
        assert gateway.metric("modelwright_model_bytes") <= BUDGET
        assert 1 <= len(gateway.children) < MODELS // 2
    served.unload_all()
    before = served.held
    served.load_some()
    assert served.held > 1.3 * before
    served.unload_all()
    limit = time.monotonic() + 30
    while served.held > 1.05 * before:
        assert time.monotonic() < limit, (served.held, before)
        time.sleep(0.1)
    assert gateway.children == []
