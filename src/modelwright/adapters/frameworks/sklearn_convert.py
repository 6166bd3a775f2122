"""A fitted scikit-learn model in memory -> an ONNX graph proven against it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.adapters.frameworks.environment import environment
from modelwright.adapters.frameworks.parity import Answers, compare, differing, refusal
from modelwright.adapters.frameworks.sklearn_advice import (
    first_line,
    parity_advice,
    refuse_known,
    rounding,
    unconvertible,
)
from modelwright.adapters.frameworks.sklearn_graph import LABEL, SCORES, VALUE, named, to_onnx
from modelwright.adapters.frameworks.sklearn_parts import class_names, model_class, require_supported
from modelwright.adapters.frameworks.sklearn_probe import probe
from modelwright.adapters.frameworks.sklearn_rows import (
    Layout,
    Typing,
    as_trained,
    features,
    input_signature,
    input_specs,
    layout_of,
    typings,
)
from modelwright.core.errors import BadInputError, RefusedError
from modelwright.core.package import Parity
from modelwright.core.signature import Feature, Signature, TensorSpec
from modelwright.core.table import Table
from modelwright.features.columns import feeds
from modelwright.features.tabular import has_gaps, rows_evenly
from modelwright.native.estimators import parts, unwrap
from modelwright.ports.framework import Conversion

PARITY_ROWS = 5000
TOLERANCE = 1e-4
# What a missing string may be handed to the graph as: nothing, or the word that Python writes for it.
_NULLS = ("", "nan", "None")


@dataclass(frozen=True, slots=True)
class _Candidate:
    graph: bytes
    signature: Signature
    feeds: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]
    parity: Parity
    answers: Answers


def convert(model: Any, examples: Table | None, *, target: str = "") -> Conversion:
    """Convert a fitted classifier or regressor and certify it on the examples.

    Every input typing worth trying is converted until one reproduces the model's own answers.

    Raises:
        BadInputError: ``pack.unsupported-model``, ``pack.not-fitted``, ``pack.no-examples``, ``pack.missing-column``,
            ``pack.examples-rejected`` and others about the examples.
        RefusedError: ``pack.unconvertible`` or ``pack.parity-failed``.
    """
    kind = require_supported(model)
    answering = unwrap(model)
    if examples is None or len(examples) == 0:
        raise BadInputError(
            "pack.no-examples",
            "There are no examples.",
            why="A conversion is only trusted when it is proven on rows.",
            fix="Give some hundreds of rows held out from training: --data FILE, or examples= in Python.",
        )
    refuse_known(answering)
    layout = layout_of(answering, examples)
    chosen = rows_evenly(len(examples), PARITY_ROWS)
    rows = examples.take(chosen)
    original = _original(answering, kind, as_trained(answering, layout, rows))
    tried: list[dict[str, object]] = []
    best: _Candidate | None = None
    failure: Exception | None = None
    for shape, typing, null_as in _candidates(layout, rows):
        try:
            candidate = _try(answering, kind, shape, typing, null_as, rows, examples, original, target)
        except Exception as error:  # noqa: BLE001 - converters and graphs fail in every way; each is one tried typing
            failure = failure or error
            tried.append({"numeric_type": typing.name, "null_as": null_as, "holds": False, "why": first_line(error)})
            continue
        tried.append(_summary(candidate.parity, null_as))
        if best is None or candidate.parity.holds or _closer(candidate.parity, best.parity):
            best = candidate
        if candidate.parity.holds:
            break
    if best is None:
        raise unconvertible(answering, failure, tuple(name for name in layout.names if rows[name].dtype == object))
    parity = replace(best.parity, worst_row=int(chosen[best.parity.worst_row]), tried=tuple(tried))
    if not parity.holds:
        refused = refusal(parity, best.parity.worst_row, original, best.answers, advice=parity_advice(answering))
        raise _explained(refused, answering, kind, layout, rows, original, best.answers)
    probed = probe(
        best.signature.features,
        rows,
        lambda row: _original(answering, kind, as_trained(answering, layout, row)),
        lambda row: _answers(kind, _run(best.graph, feeds(best.signature, row))[0]),
        TOLERANCE,
    )
    return _conversion(answering, best, parity, probed)


def _explained(
    error: RefusedError, model: Any, kind: str, layout: Layout, rows: Table, original: Answers, converted: Answers
) -> RefusedError:
    """The refusal, with its cause where that is numbers finer than 32 bits hold.

    It is where rounding the rows changes at least half as many of the original's answers as the conversion does.
    """
    coarse = {
        name: column.astype(np.float32).astype(np.float64) for name, column in rows.columns.items() if _is_fine(column)
    }
    if not coarse:
        return error
    rounded = _original(model, kind, as_trained(model, layout, Table({**rows.columns, **coarse})))
    changed = compare(original, rounded, tolerance=TOLERANCE, numeric_type="")
    if 2 * differing(original, rounded, TOLERANCE).sum() < differing(original, converted, TOLERANCE).sum():
        return error
    merged = tuple(name for name in coarse if len(np.unique(coarse[name])) < len(np.unique(rows[name])))
    why, fix = rounding(merged or tuple(coarse), changed.max_difference, changed.label_flips)
    details = {**error.details, "rounding": changed.max_difference}
    return RefusedError(error.code, error.what, why=f"{error.why} {why}", fix=fix, details=details)


def _is_fine(column: NDArray[Any]) -> bool:
    """True for a float64 column with values that 32 bits do not hold."""
    if column.dtype != np.float64:
        return False
    known = column[~np.isnan(column)]
    return bool((known.astype(np.float32) != known).any())


def _candidates(layout: Layout, rows: Table) -> Iterator[tuple[Layout, Typing, str]]:
    """Column by column first where the model asks for columns; some estimators convert from one matrix only."""
    texts = [name for name in layout.names if rows[name].dtype == object]
    gaps = any(has_gaps(rows[name]) for name in texts)
    shapes = [layout] if layout.matrix or texts else [layout, replace(layout, matrix=True)]
    for shape in shapes:
        for typing in typings(shape, rows):
            for null_as in _NULLS if gaps else _NULLS[:1]:
                yield shape, typing, null_as


def _original(model: Any, kind: str, rows: Any) -> Answers:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predicted = np.asarray(model.predict(rows))
            scores = np.asarray(model.predict_proba(rows)) if hasattr(model, "predict_proba") else None
    except Exception as error:
        raise BadInputError(
            "pack.examples-rejected",
            "The model itself does not accept the examples.",
            why=f"{type(error).__name__}: {first_line(error)}.",
            fix="Give examples as the model was trained on them: same columns, kinds and missing values.",
        ) from error
    if predicted.ndim > 1 and predicted.shape[1:] != (1,):
        raise BadInputError(
            "pack.unsupported-model", "The model has more than one output.", fix="Pack one model for each target."
        )
    if kind == "regressor":
        return Answers(values=predicted.reshape(-1).astype(np.float64))
    return Answers(labels=_words(predicted), scores=scores)


def _try(
    model: Any,
    kind: str,
    layout: Layout,
    typing: Typing,
    null_as: str,
    rows: Table,
    examples: Table,
    original: Answers,
    target: str,
) -> _Candidate:
    scored = original.scores is not None
    proto = to_onnx(model, kind, layout, typing, null_as, scored=scored)
    specs = named(proto, model, kind, input_specs(layout, typing), scored=scored)
    graph = proto.SerializeToString(deterministic=True)
    described = features(layout, examples, null_as)
    tensors = feeds(input_signature(specs, described), rows)
    outputs, output_specs = _run(graph, tensors)
    answers = _answers(kind, outputs)
    parity = compare(original, answers, tolerance=TOLERANCE, numeric_type=typing.name)
    signature = _signature(model, kind, specs, described, output_specs, target)
    return _Candidate(graph, signature, tensors, outputs, parity, answers)


def _run(graph: bytes, tensors: Mapping[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], tuple[TensorSpec, ...]]:
    from modelwright.adapters.frameworks.onnx_file import session, specs  # lazy: loads ONNX Runtime

    held = session(graph)
    names = [output.name for output in held.get_outputs()]
    return dict(zip(names, held.run(names, dict(tensors)), strict=True)), specs(held.get_outputs())


def _answers(kind: str, outputs: Mapping[str, NDArray[Any]]) -> Answers:
    if kind == "regressor":
        return Answers(values=outputs[VALUE].reshape(-1).astype(np.float64))
    return Answers(labels=_words(outputs[LABEL]), scores=outputs.get(SCORES))


def _signature(
    model: Any,
    kind: str,
    specs: tuple[TensorSpec, ...],
    described: tuple[Feature, ...],
    outputs: tuple[TensorSpec, ...],
    target: str,
) -> Signature:
    inputs = input_signature(specs, described)
    if kind == "regressor":
        return replace(inputs, outputs=outputs, task="regression", label_output=VALUE, target=target)
    classes = class_names(model)
    scores = SCORES if any(spec.name == SCORES for spec in outputs) else ""
    return replace(
        inputs,
        outputs=outputs,
        task="binary" if len(classes) == 2 else "multiclass",
        classes=classes,
        label_output=LABEL,
        score_output=scores,
        target=target,
    )


def _conversion(model: Any, best: _Candidate, parity: Parity, probed: str) -> Conversion:
    import sklearn  # lazy: heavy

    modules = {type(part).__module__ for part in parts(model)} | {"sklearn"}
    return Conversion(
        onnx=best.graph,
        signature=best.signature,
        parity=parity,
        inputs=best.feeds,
        outputs=best.outputs,
        framework="sklearn",
        framework_version=sklearn.__version__,
        model_class=model_class(model),
        environment=environment(modules),
        notes={
            "isolation": "none: the model was already an object in the caller's process",
            "probes": probed,
            "route": "It converts to ONNX, and the graph answers the examples as the original does.",
        },
        row_independent=True,
    )


def _summary(parity: Parity, null_as: str) -> dict[str, object]:
    return {
        "numeric_type": parity.numeric_type,
        "null_as": null_as,
        "max_difference": parity.max_difference,
        "label_flips": parity.label_flips,
        "holds": parity.holds,
    }


def _closer(one: Parity, other: Parity) -> bool:
    return (one.max_difference, one.label_flips) < (other.max_difference, other.label_flips)


def _words(labels: NDArray[Any]) -> NDArray[Any]:
    return np.array([str(label) for label in labels.reshape(-1).tolist()], dtype=object)
