import numpy as np
import pytest

from modelwright.core.finding import Window
from modelwright.core.package import Description, Manifest, Package
from modelwright.core.signature import Feature, Signature, TensorSpec
from modelwright.core.table import Table
from modelwright.stats.profile import profile
from modelwright.watch.look import look

CLASSES = ("False", "True")
SIGNATURE = Signature(
    inputs=(TensorSpec("temp", "FP32", (-1, 1), ("temp",)), TensorSpec("carrier", "BYTES", (-1, 1), ("carrier",))),
    outputs=(TensorSpec("label", "BOOL", (-1,)), TensorSpec("probabilities", "FP32", (-1, 2))),
    features=(Feature("temp", "number", nullable=True), Feature("carrier", "category")),
    task="binary",
    classes=CLASSES,
    label_output="label",
    score_output="probabilities",
    target="late",
)


def recorded(seed, rows=2000, shift=0.0, lie=0.0, known=0.8):
    """Rows as the log joins them: P(late) rises with temp; ``lie`` is the share of truths that are flipped."""
    random = np.random.default_rng(seed)
    temp = random.normal(36, 10, rows) + shift
    p = 1 / (1 + np.exp(-(temp - 46) / 8))
    late = (random.random(rows) < p) ^ (random.random(rows) < lie)
    truth = np.array([str(value) if random.random() < known else None for value in late], dtype=object)
    return Table(
        {
            "prediction_id": np.array([f"p{index}" for index in range(rows)], dtype=object),
            "status": np.array(["ok"] * rows, dtype=object),
            "input.temp": temp.astype(np.float32),
            "input.carrier": random.choice(np.array(["UA", "B6"], dtype=object), rows),
            "output.label": p > 0.5,
            "output.probabilities.False": (1 - p).astype(np.float32),
            "output.probabilities.True": p.astype(np.float32),
            "truth": truth,
        }
    )


def package(rows, reference=True):
    columns = {name.removeprefix("input."): rows[name] for name in ("input.temp", "input.carrier")}
    scores = {name.removeprefix("output."): rows[name] for name in rows.names if "probabilities" in name}
    description = Description("delay", "sklearn", "1", "C", "onnx", "2013-01-01T00:00:00+00:00", "3.11")
    known = profile(Table(columns), predictions=scores, base_rate=0.25) if reference else None
    return Package(Manifest("delay", {}), description, SIGNATURE, None, known, None, lambda name: b"")


PACKAGE = package(recorded(0, rows=4000))
EXPECTED = look(PACKAGE, recorded(1)).performance


def test_an_unchanged_window_is_quiet_and_its_performance_is_measured():
    window = Window(0.0, 1.0)
    report = look(PACKAGE, recorded(2), version="3", window=window, expected=EXPECTED)
    assert report.findings == ()
    assert (report.model, report.version, report.window, report.rows) == ("delay", "3", window, 2000)
    assert 1500 < report.truths < 1700
    assert report.base_rate == pytest.approx(0.25, abs=0.05)
    value, low, high = report.performance["log_loss"]
    assert low < value < high
    assert [column.column for column in report.columns] == ["temp", "carrier", "output.probabilities.True"]


def test_a_shift_moves_input_and_prediction_and_both_are_named():
    report = look(PACKAGE, recorded(3, shift=15.0), expected=EXPECTED)
    assert {(finding.kind, finding.subject) for finding in report.findings} >= {
        ("drift", "temp"),
        ("prediction-drift", "output.probabilities.True"),
    }
    assert "The prediction moved" in report.findings[0].says
    assert report.says.startswith(f"{len(report.findings)} findings in 2,000 rows")


def test_worse_answers_on_the_same_inputs_are_a_performance_finding():
    report = look(PACKAGE, recorded(4, lie=0.25), expected=EXPECTED)
    assert [(finding.kind, finding.subject, finding.severity) for finding in report.findings] == [
        ("performance", "log_loss", "critical")
    ]
    assert report.findings[0].effect > 0
    assert "was expected" in report.findings[0].says


def test_a_few_truths_accuse_nobody():
    report = look(PACKAGE, recorded(5, lie=0.4, known=0.01), expected=EXPECTED)
    assert report.findings == ()
    assert report.truths < 50


def test_failed_rows_are_left_out():
    rows = recorded(6)
    status = rows["status"].copy()
    status[:500] = "serve.model-failed"
    broken = rows["input.temp"].copy()
    broken[:500] = np.nan
    report = look(PACKAGE, Table({**rows.columns, "status": status, "input.temp": broken}), expected=EXPECTED)
    assert report.rows == 1500
    assert report.findings == ()


def test_labels_the_model_does_not_know_are_not_counted_as_truth():
    rows = recorded(7)
    truth = rows["truth"].copy()
    truth[:] = "maybe"
    report = look(PACKAGE, Table({**rows.columns, "truth": truth}), expected=EXPECTED)
    assert (report.truths, report.performance) == (0, {})


def test_a_window_without_rows_says_so():
    report = look(PACKAGE, recorded(8).take(slice(0, 0)), expected=EXPECTED)
    assert (report.rows, report.findings, report.says) == (0, (), "No predictions in this window.")


def test_without_a_reference_only_performance_is_watched():
    report = look(package(recorded(0), reference=False), recorded(9, shift=15.0, lie=0.3), expected=EXPECTED)
    assert [finding.kind for finding in report.findings] == ["performance"]
    assert report.columns == ()
