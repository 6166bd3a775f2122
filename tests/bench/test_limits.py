"""What limits a server is said from figures, and doubts come with it."""

import os
import time
from dataclasses import replace

import pytest

from modelwright.bench.answers import Checked
from modelwright.bench.facts import Facts, Look, between, cpu_seconds, parse_metrics
from modelwright.bench.figures import Figures
from modelwright.bench.generators import Measured
from modelwright.bench.job import Load
from modelwright.bench.limits import limits
from modelwright.bench.session import Round
from modelwright.bench.tune import Candidate, alternatives, best, compare, merged

QUIET = Facts(server_share=0.4, runner_share=0.1, others_share=0.0)


def a_round(facts=QUIET, rate=1000.0, p99=5.0, late=0.0, generator=0.2, errors=None):
    figures = Figures(1000, rate, 1.0, 2.0, p99, 8.0, 9.0, late)
    return Round(Measured(Load(4, 0.0, 1.0), figures, errors or {}, 0, generator, 1.0, []), facts, Checked())


def kinds(*rounds, workers=1):
    return [limit.kind for limit in limits(rounds, workers=workers, cores=4)]


def test_a_server_with_room_left_is_not_the_limit():
    assert kinds(a_round()) == ["none"]


@pytest.mark.parametrize(
    ("server", "runner", "kind"), [(0.99, 0.05, "interface"), (0.99, 0.7, "runner"), (3.0, 0.95, "runner")]
)
def test_a_full_server_is_limited_by_what_takes_most_of_its_time(server, runner, kind):
    assert kinds(a_round(Facts(server_share=server, runner_share=runner, others_share=0.0))) == [kind]


def test_two_gateways_are_full_at_two_cores():
    facts = Facts(server_share=1.1, runner_share=0.1, others_share=0.0)
    assert kinds(a_round(facts), workers=2) == ["none"]


def test_a_machine_whose_cores_are_all_busy_is_the_limit_of_a_server_that_is_not_full():
    assert kinds(a_round(replace(QUIET, others_share=3.5)))[-1] == "cores"


def test_a_server_that_did_not_keep_up_is_not_said_to_have_had_room():
    slow = a_round(rate=1000.0)
    assert kinds(replace(slow, measured=replace(slow.measured, load=Load(4, 2000.0, 1.0)))) == ["unknown"]


def test_a_server_elsewhere_is_not_judged():
    assert kinds(a_round(Facts()), workers=None) == ["unknown"]


def test_a_full_or_late_generator_and_a_busy_machine_are_doubts_and_come_first():
    assert kinds(a_round(generator=0.95)) == ["generator", "none"]
    assert kinds(a_round(late=3.0)) == ["generator", "none"]
    assert kinds(a_round(replace(QUIET, others_share=1.5))) == ["machine", "none"]
    assert kinds(a_round(replace(QUIET, stolen_share=0.2))) == ["stolen", "none"]
    assert all(limit.doubt for limit in limits([a_round(generator=0.95)], workers=1, cores=4)[:1])


def test_refusals_of_the_queue_are_named_with_their_reason():
    facts = replace(QUIET, shed={"queue-full": 200})
    found = limits([a_round(facts, errors={"503 serve.overloaded": 200})], workers=1, cores=4)
    assert found[0].kind == "queue"
    assert "200 queue-full" in found[0].says


def test_other_failures_are_counted():
    assert kinds(a_round(errors={"500": 30}))[0] == "errors"


def test_facts_are_the_difference_between_two_looks():
    before = Look(
        0.0,
        parse_metrics('modelwright_errors_total{code="a"} 3\n'),
        {"requests": 10, "runs": 5, "rows": 10, "queue_seconds": 1.0, "run_seconds": 1.0},
        5.0,
        100.0,
        1.0,
    )
    after = Look(
        2.0,
        parse_metrics('modelwright_errors_total{code="a"} 3\nmodelwright_errors_total{code="b"} 4\n'),
        {"requests": 110, "runs": 30, "rows": 310, "queue_seconds": 1.5, "run_seconds": 2.0},
        6.5,
        103.0,
        1.2,
    )
    facts = between((before, 1.0), (after, 2.0), 2.0)
    assert facts.server_share == pytest.approx(0.75)
    assert facts.runner_share == pytest.approx(0.5)
    assert facts.others_share == pytest.approx(0.25)
    assert facts.stolen_share == pytest.approx(0.1)
    assert facts.batch == pytest.approx(4.0)
    assert facts.rows_per_run == pytest.approx(12.0)
    assert facts.queue_seconds == pytest.approx(0.005)
    assert facts.errors == {"b": 4}


def candidate(changes, rates, p99s=(5.0, 5.0, 5.0)):
    return Candidate(changes, [a_round(rate=rate, p99=p99) for rate, p99 in zip(rates, p99s, strict=True)])


def test_a_setting_is_better_only_beyond_the_spread_of_the_rounds():
    base = candidate({}, (100, 110, 120))
    noisy = compare(base, candidate({"threads": 2}, (119, 130, 140)), open_loop=False)
    clear = compare(base, candidate({"workers": 2}, (190, 200, 210)), open_loop=False)
    assert not noisy.better
    assert clear.better
    assert clear.rate_ratio == pytest.approx(200 / 110)
    assert best([noisy, clear], open_loop=False) is clear
    assert best([noisy], open_loop=False) is None


def test_under_an_open_loop_the_lower_latency_is_better():
    base = candidate({}, (100, 100, 100), (10, 11, 12))
    sooner = compare(base, candidate({"queue_seconds": 0.05}, (100, 100, 100), (5, 5, 6)), open_loop=True)
    dearly = compare(base, candidate({"queue_seconds": 0.01}, (60, 60, 60), (1, 1, 1)), open_loop=True)
    assert sooner.better
    assert not dearly.better


def test_the_best_values_of_different_settings_are_tried_together():
    base = candidate({}, (100, 100, 100))
    better = [
        compare(base, candidate(changes, (rate,) * 3), open_loop=False)
        for changes, rate in (({"workers": 2}, 150), ({"workers": 4}, 180), ({"threads": 2}, 120))
    ]
    assert merged(better, open_loop=False) == {"workers": 4, "threads": 2}


def test_only_other_values_are_tried_and_none_that_the_cores_cannot_carry():
    now = {"workers": 1, "threads": 1, "queue_seconds": 0.3}
    tried = alternatives(now, cores=2, open_loop=False, native=False)
    assert tried == [{"workers": 2}, {"threads": 2}]
    assert {"queue_seconds": 0.05} in alternatives(now, cores=2, open_loop=True, native=False)
    assert {"queue_seconds": 0.3} not in alternatives(now, cores=2, open_loop=True, native=False)


def test_the_processor_time_of_a_process_grows_with_its_work_and_is_none_for_one_that_is_gone():
    before = cpu_seconds(os.getpid())
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    assert cpu_seconds(os.getpid()) - before >= 0.02
    assert cpu_seconds(2**22 + 1) == 0
