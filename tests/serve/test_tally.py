import pytest

from modelwright.serve.tally import OwnCounters, Tally
from modelwright.testing.counters import CountersConformance


class TestOwnCounters(CountersConformance):
    @pytest.fixture
    def counters(self):
        return OwnCounters()


def test_a_tally_counts_rows_by_model_version_role_and_status():
    counters = OwnCounters()
    tally = Tally(counters)
    for rows, status in ((2, "ok"), (3, "ok"), (1, "serve.runner-failed")):
        tally.count("m", "1", "champion", status, rows)
    tally.swap()
    tally.refuse_table()
    assert tally.rows == {("m", "1", "champion", "ok"): 5, ("m", "1", "champion", "serve.runner-failed"): 1}
    told = {key: list(slots) for key, slots in counters.parts()[0].values.items()}
    assert told[("modelwright_predictions", "m", "1", "champion", "ok")] == [5.0]
    assert told[("modelwright_swaps",)] == told[("modelwright_refused_tables",)] == [1.0]


def test_a_tally_counts_runs_by_size_and_requests_by_what_was_wrong():
    tally = Tally(OwnCounters())
    for requests in (1, 2, 3, 4, 5, 64):
        tally.run("m", requests)
    tally.refuse("m", "queue")
    tally.warn("m", "range age")
    assert tally.runs == {("m", "1"): 1, ("m", "2"): 1, ("m", "4"): 2, ("m", "8"): 1, ("m", "64"): 1}
    assert tally.shed == {("m", "queue"): 1}
    assert tally.warnings == {("m", "range age"): 1}
