"""Results of a fitted statsmodels model -> a graph where it is one layer and a link, else as they are.

Runs in the jailed process only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from modelwright.adapters.frameworks.adversarial import Adversary, cases, golden_feeds
from modelwright.adapters.frameworks.adversarial_tensors import answers_of
from modelwright.adapters.frameworks.environment import environment
from modelwright.adapters.frameworks.examples import require_examples
from modelwright.adapters.frameworks.families import Asked
from modelwright.adapters.frameworks.native_answers import (
    TOLERANCE,
    Outputs,
    Proven,
    agreement,
    first_proven,
    native_typings,
    null_word,
    output_specs,
    stands_alone,
)
from modelwright.adapters.frameworks.parity import beyond_refusal
from modelwright.adapters.frameworks.routes import on_route
from modelwright.adapters.frameworks.sklearn_graph import LABEL, SCORES, VALUE
from modelwright.adapters.frameworks.sklearn_rows import Typing
from modelwright.adapters.frameworks.statsmodels_graph import link_of, to_graph
from modelwright.core.errors import BadInputError, ModelwrightError, RefusedError
from modelwright.core.native import Native
from modelwright.core.signature import Signature, TensorSpec
from modelwright.core.table import Table
from modelwright.features.columns import feeds
from modelwright.features.describe import describe
from modelwright.features.tabular import rows_evenly
from modelwright.native import open_model
from modelwright.native.statsmodels_model import design, used
from modelwright.ports.framework import Conversion

NATIVE = Native("statsmodels", "model.joblib")
_ROWS = 2000
_BINARY = frozenset({"Logit", "Probit"})


@dataclass(frozen=True, slots=True)
class _Subject:
    """The results, the rows that they are proven on, and all rows for the description of the columns."""

    results: Any
    names: tuple[str, ...]
    rows: Table
    examples: Table
    target: str


def import_trusted() -> None:
    """Load what conversion needs before the jail closes."""
    import joblib  # noqa: F401 - loaded for those who import it later
    import onnx  # noqa: F401
    import onnxruntime
    import pandas as pd  # noqa: F401
    import statsmodels.api  # noqa: F401

    onnxruntime.disable_telemetry_events()


def opened(asked: Asked) -> Any:
    """Unpickle the file.

    Raises:
        BadInputError: ``pack.unreadable-model``.
    """
    from modelwright.native.pickled import unpickled  # lazy: joblib

    try:
        return unpickled(asked.path) if asked.route != "onnx" else _from(asked.descriptor)
    except Exception as error:
        raise BadInputError(
            "pack.unreadable-model",
            f"{asked.name!r} cannot be opened as a pickled model.",
            why=f"{type(error).__name__}: {str(error)[:300]}.",
            fix="Save it with results.save(file), by the same versions of its libraries.",
        ) from error


def _from(descriptor: int) -> Any:
    import joblib  # lazy: heavy

    with os.fdopen(descriptor, "rb") as file:
        return joblib.load(file)


def convert_opened(model: Any, asked: Asked) -> Conversion:
    """Convert to a graph of one layer where the link is a known one and its answers agree; else keep it as it is.

    Raises:
        BadInputError: ``pack.unsupported-model``, ``pack.no-examples``, ``pack.missing-column``,
            ``pack.wrong-columns``, ``pack.examples-rejected``.
        RefusedError: ``pack.unconvertible``, ``pack.parity-failed``; ``pack.native-differs``, ``pack.not-repeatable``.
    """
    subject = _subject(model, asked)
    return on_route(asked.route, lambda: _as_graph(subject), lambda why: _as_code(subject, asked, why), why=asked.why)


def _subject(model: Any, asked: Asked) -> _Subject:
    if not hasattr(model, "predict") or not hasattr(model, "params"):
        raise BadInputError(
            "pack.unsupported-model",
            f"This {type(model).__name__} of statsmodels is not the result of a fit.",
            fix="Pack what model.fit() gave: results.save('model.statsmodels'), or the results in Python.",
        )
    examples = require_examples(asked.examples, "A conversion is only trusted when it is proven on rows.")
    names = used(model, examples.names)
    return _Subject(model, names, examples.take(rows_evenly(len(examples), _ROWS)), examples, asked.target)


def _own(subject: _Subject) -> Outputs:
    """What the results answer by themselves, without our loader: the expected value or the probabilities."""
    columns = {name: subject.rows[name] for name in subject.names}
    try:
        expected = np.asarray(subject.results.predict(design(subject.results, subject.names, columns)), np.float64)
    except ModelwrightError:
        raise
    except Exception as error:
        raise BadInputError(
            "pack.examples-rejected",
            "The model rejected the examples.",
            why=f"{type(error).__name__}: {str(error)[:300]}.",
            fix="Give the examples with the columns, and the kinds of columns, of the training data.",
        ) from error
    if not _classes(subject.results):
        return {VALUE: expected.reshape(-1)}
    shares = np.stack([1.0 - expected, expected], axis=1) if expected.ndim == 1 else expected
    names = _classes(subject.results)
    labels = np.nan_to_num(shares).argmax(axis=1)
    whole = all(name.lstrip("-").isdigit() for name in names)
    known = np.array([int(name) for name in names]) if whole else np.array(names, dtype=object)
    return {LABEL: known[labels], SCORES: shares}


def _classes(results: Any) -> tuple[str, ...]:
    """``0`` and ``1`` of a binary response, the levels of a multinomial one, none of a number."""
    model = results.model
    family = type(getattr(model, "family", None)).__name__
    if type(model).__name__ in _BINARY or (family == "Binomial" and set(np.unique(model.endog)) <= {0.0, 1.0}):
        return ("0", "1")
    if type(model).__name__ == "MNLogit":
        return tuple(str(name) for _, name in sorted(model._ynames_map.items()))  # noqa: SLF001 - kept nowhere else
    return ()


def _signature(subject: _Subject, typing: Typing, own: Outputs) -> Signature:
    null_as = null_word(subject.examples, subject.names)
    inputs = tuple(
        TensorSpec(f"{name}_input" if name in own else name, typing.datatypes[name], (-1, 1), (name,))
        for name in subject.names
    )
    described = tuple(describe(name, [subject.examples[name]], null_as=null_as) for name in subject.names)
    classes = _classes(subject.results)
    made = Signature(inputs, output_specs(own), described, target=subject.target)
    if not classes:
        return replace(made, task="regression", label_output=VALUE)
    task: Any = "binary" if len(classes) == 2 else "multiclass"
    return replace(made, task=task, classes=classes, label_output=LABEL, score_output=SCORES)


def _as_graph(subject: _Subject) -> Conversion:
    from modelwright.adapters.frameworks.onnx_file import session  # lazy: loads ONNX Runtime

    typing = Typing("FP64", dict.fromkeys(subject.names, "FP64"))
    own = _own(subject)
    signature = _signature(subject, typing, own)
    graph = to_graph(subject.results, signature, {name: subject.rows[name].dtype.kind for name in subject.names})
    held = session(graph)
    names = [spec.name for spec in signature.outputs]

    def run(tensors: Outputs) -> dict[str, Any]:
        return dict(zip(names, held.run(names, dict(tensors)), strict=True))

    tensors = feeds(signature, subject.rows)
    outputs = run(tensors)
    parity = agreement(own, outputs, numeric_type="FP64")
    if not parity.holds:
        raise RefusedError(
            "pack.parity-failed",
            "The graph does not answer as the model does.",
            why=f"The largest difference is {parity.max_difference:.3g}, in row {parity.worst_row}.",
            fix="Leave --onnx out: the model is packed as it is then.",
        )
    compared = Adversary(
        cases(signature.features, subject.rows),
        subject.rows,
        lambda rows: answers_of(_own(replace(subject, rows=rows))),
        TOLERANCE,
    ).judge(lambda rows: answers_of(run(feeds(signature, rows))))
    parity = replace(parity, adversarial=compared.record)
    if compared.broken:
        raise beyond_refusal(compared.broken, parity, advice="Leave --onnx out: the model is packed as it is then.")
    beyond = golden_feeds(compared, signature)
    route = f"It is one layer of weights and the link {link_of(subject.results)}, which ONNX has."
    made = _conversion(subject, {"route": route})
    return replace(
        made,
        onnx=graph,
        signature=signature,
        parity=parity,
        inputs=tensors,
        outputs=outputs,
        row_independent=True,
        beyond_inputs=beyond,
        beyond_outputs=run(beyond) if beyond else {},
    )


def _as_code(subject: _Subject, asked: Asked, why: str) -> Conversion:
    own = _own(subject)

    def prove(typing: Typing) -> Proven:
        signature = _signature(subject, typing, own)
        run = open_model(NATIVE, asked.path, signature)
        tensors = feeds(signature, subject.rows)
        outputs = run(tensors)
        return Proven(signature, tensors, outputs, agreement(own, outputs, numeric_type=typing.name), run)

    proven = first_proven([lambda t=typing: prove(t) for typing in native_typings(subject.rows, subject.names)])  # type: ignore[misc]
    apart = stands_alone(proven.run, proven.feeds)
    made = _conversion(subject, {"route": why} | ({"rows": f"do not stand alone: {apart}"} if apart else {}))
    return replace(
        made,
        signature=proven.signature,
        parity=proven.parity,
        inputs=proven.feeds,
        outputs=proven.outputs,
        row_independent=not apart,
        native=NATIVE,
    )


def _conversion(subject: _Subject, notes: Mapping[str, str]) -> Conversion:
    import statsmodels  # lazy: heavy

    return Conversion(
        onnx=b"",
        signature=Signature((), ()),
        parity=None,
        inputs={},
        outputs={},
        framework="statsmodels",
        framework_version=statsmodels.__version__,
        model_class=type(subject.results.model).__name__,
        environment=environment(["statsmodels", "joblib"]),
        notes=dict(notes),
    )
