import pytest

from modelwright.core.errors import RefusedError
from modelwright.testing.workflow import InlineSteps, InlineWorkflow, WorkflowConformance, tally


@pytest.fixture
def counts():
    return {}


@pytest.fixture
def workflow(counts):
    workflow = InlineWorkflow(counts, {"tally": tally, "other": tally})
    yield workflow
    workflow.close()


class TestInlineWorkflow(WorkflowConformance):
    pass


def test_finished_steps_are_not_run_again_over_the_same_dict():
    counts, finished = {}, {}
    steps = InlineSteps("key", finished)
    steps.do("first", lambda: counts.setdefault("first", 1))
    result = tally(counts := {"first": 5}, InlineSteps("key", {"0 first": {"value": [1]}}), {})
    assert result["first"] == [1]
    assert counts["first"] == 5


def test_a_kept_error_is_raised_again():
    finished = {}
    for _ in range(2):
        with pytest.raises(RefusedError, match="It was refused"):
            tally({}, InlineSteps("key", finished), {"refuse": True})
