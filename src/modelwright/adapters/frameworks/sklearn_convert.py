"""A fitted scikit-learn model in memory -> an ONNX graph proven against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from modelwright.adapters.frameworks.adversarial import Adversary, Compared, cases, golden_feeds
from modelwright.adapters.frameworks.environment import environment
from modelwright.adapters.frameworks.examples import require_examples
from modelwright.adapters.frameworks.parity import Answers, beyond_refusal, compare, differing, refusal
from modelwright.adapters.frameworks.sklearn_advice import (
    beyond_advice,
    first_line,
    parity_advice,
    refuse_known,
    rounding,
    unconvertible,
)
from modelwright.adapters.frameworks.sklearn_graph import named, to_onnx
from modelwright.adapters.frameworks.sklearn_outputs import SCORES, as_answers, meaning
from modelwright.adapters.frameworks.sklearn_parts import model_class, require_supported
from modelwright.adapters.frameworks.sklearn_precision import coarse_rows, merged, precision, wanted_numbers
from modelwright.adapters.frameworks.sklearn_question import Question, question
from modelwright.adapters.frameworks.sklearn_rows import (
    Layout,
    Typing,
    features,
    input_signature,
    input_specs,
    typings,
)
from modelwright.core.errors import BadInputError, RefusedError
from modelwright.core.package import Parity
from modelwright.core.signature import Signature, TensorSpec
from modelwright.core.table import Table
from modelwright.features.columns import feeds
from modelwright.features.tabular import has_gaps
from modelwright.native.estimators import parts, unwrap
from modelwright.ports.framework import NO_HINTS, Conversion, Hints

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
    beyond: Compared | None = None

    @property
    def holds(self) -> bool:
        """On the examples, and on the rows beyond them that may really come."""
        return self.parity.holds and self.beyond is not None and not self.beyond.broken


def convert(model: Any, examples: Table | None, *, target: str = "", hints: Hints = NO_HINTS) -> Conversion:
    """Convert a fitted estimator and certify it on the examples, and on rows made from their signature.

    Every input typing worth trying is converted until one reproduces the model's own answers.

    Raises:
        BadInputError: ``pack.unsupported-model``, ``pack.not-fitted``, ``pack.no-examples``, ``pack.missing-column``,
            ``pack.examples-rejected``, ``pack.bad-option`` and others about the examples.
        RefusedError: ``pack.unconvertible`` or ``pack.parity-failed``.
    """
    numbers = wanted_numbers(hints)
    kind = require_supported(model)
    answering = unwrap(model)
    examples = require_examples(examples, "A conversion is only trusted when it is proven on rows.")
    if kind == "other":
        raise BadInputError(
            "pack.unsupported-model",
            f"{type(model).__name__} is no classifier, regressor, outlier detector, clusterer or transformer.",
            fix="Pack it as code: leave --onnx out.",
        )
    refuse_known(answering)
    held = question(answering, kind, examples, most=PARITY_ROWS, target=target)
    best, tried, failure = _best(held, numbers)
    if best is None:
        raise unconvertible(
            answering, failure, tuple(name for name in held.layout.names if held.rows[name].dtype == object)
        )
    parity = replace(best.parity, worst_row=int(held.chosen[best.parity.worst_row]), tried=tuple(tried))
    if not parity.holds:
        refused = refusal(parity, best.parity.worst_row, held.original, best.answers, advice=parity_advice(answering))
        raise _explained(refused, held, best.answers)
    if not best.holds:
        raise beyond_refusal(best.beyond.broken if best.beyond else "", parity, advice=beyond_advice(answering))
    return _conversion(held, best, parity)


def _best(asked: Question, numbers: str) -> tuple[_Candidate | None, list[dict[str, object]], Exception | None]:
    """The first candidate that holds, else the nearest; what was tried; why the first failure failed."""
    tried: list[dict[str, object]] = []
    best: _Candidate | None = None
    failure: Exception | None = None
    adversary: Adversary | None = None
    for shape, typing, null_as in _candidates(asked.layout, asked.rows, numbers):
        try:
            candidate = _try(asked, shape, typing, null_as)
        except Exception as error:  # noqa: BLE001 - converters and graphs fail in every way; each is one tried typing
            failure = failure or error
            tried.append({"numeric_type": typing.name, "null_as": null_as, "holds": False, "why": first_line(error)})
            continue
        if candidate.parity.holds:
            if adversary is None:
                made = cases(candidate.signature.features, asked.rows)
                adversary = Adversary(made, asked.rows, asked.answers, TOLERANCE)
            candidate = _beyond(asked, candidate, adversary)
        tried.append(_summary(candidate, null_as))
        if best is None or candidate.holds or _closer(candidate, best):
            best = candidate
        if candidate.holds:
            break
    return best, tried, failure


def _beyond(asked: Question, candidate: _Candidate, adversary: Adversary) -> _Candidate:
    def answers(rows: Table) -> Answers:
        return as_answers(asked.kind, _run(candidate.graph, feeds(candidate.signature, rows))[0])

    compared = adversary.judge(answers)
    return replace(candidate, beyond=compared, parity=replace(candidate.parity, adversarial=compared.record))


def _explained(error: RefusedError, asked: Question, converted: Answers) -> RefusedError:
    """The refusal, with its cause where that is numbers finer than 32 bits hold.

    It is where rounding the rows changes at least half as many of the original's answers as the conversion does.
    """
    found = coarse_rows(asked.rows)
    if not found:
        return error
    rounded = asked.answers(Table({**asked.rows.columns, **found}))
    changed = compare(asked.original, rounded, tolerance=TOLERANCE, numeric_type="")
    apart = differing(asked.original, converted, TOLERANCE).sum()
    if 2 * differing(asked.original, rounded, TOLERANCE).sum() < apart:
        return error
    why, fix = rounding(merged(found, asked.rows), changed.max_difference, changed.label_flips)
    details = {**error.details, "rounding": changed.max_difference}
    return RefusedError(error.code, error.what, why=f"{error.why} {why}", fix=fix, details=details)


def _candidates(layout: Layout, rows: Table, numbers: str) -> Iterator[tuple[Layout, Typing, str]]:
    """Column by column first where the model asks for columns; some estimators convert from one matrix only."""
    texts = [name for name in layout.names if rows[name].dtype == object]
    gaps = any(has_gaps(rows[name]) for name in texts)
    shapes = [layout] if layout.matrix or texts else [layout, replace(layout, matrix=True)]
    for shape in shapes:
        for typing in [held for held in typings(shape, rows) if held.name.startswith(numbers)]:
            for null_as in _NULLS if gaps else _NULLS[:1]:
                yield shape, typing, null_as


def _try(asked: Question, layout: Layout, typing: Typing, null_as: str) -> _Candidate:
    scored = SCORES in asked.own
    proto = to_onnx(asked.model, asked.kind, layout, typing, null_as, scored=scored)
    specs = named(proto, asked.model, asked.kind, input_specs(layout, typing), asked.own)
    graph = proto.SerializeToString(deterministic=True)
    inputs = input_signature(specs, features(layout, asked.examples, null_as))
    tensors = feeds(inputs, asked.rows)
    outputs, output_specs = _run(graph, tensors)
    answers = as_answers(asked.kind, outputs)
    parity = compare(asked.original, answers, tolerance=TOLERANCE, numeric_type=typing.name)
    signature = meaning(asked.model, asked.kind, inputs, output_specs, asked.target)
    return _Candidate(graph, signature, tensors, outputs, parity, answers)


def _run(graph: bytes, tensors: Mapping[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], tuple[TensorSpec, ...]]:
    from modelwright.adapters.frameworks.onnx_file import session, specs  # lazy: loads ONNX Runtime

    held = session(graph)
    names = [output.name for output in held.get_outputs()]
    return dict(zip(names, held.run(names, dict(tensors)), strict=True)), specs(held.get_outputs())


def _conversion(asked: Question, best: _Candidate, parity: Parity) -> Conversion:
    import sklearn  # lazy: heavy

    model = asked.model
    modules = {type(part).__module__ for part in parts(model)} | {"sklearn"}
    assert best.beyond is not None
    asked_beyond = golden_feeds(best.beyond, best.signature)
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
            "route": "It converts to ONNX, and the graph answers the examples as the original does.",
            **precision(asked.rows, asked.original, asked.answers, best.signature, TOLERANCE),
        },
        row_independent=True,
        beyond_inputs=asked_beyond,
        beyond_outputs=_run(best.graph, asked_beyond)[0] if asked_beyond else {},
    )


def _summary(candidate: _Candidate, null_as: str) -> dict[str, object]:
    parity, beyond = candidate.parity, candidate.beyond
    said: dict[str, object] = {
        "numeric_type": parity.numeric_type,
        "null_as": null_as,
        "max_difference": parity.max_difference,
        "label_flips": parity.label_flips,
        "holds": candidate.holds,
    }
    return said | ({"why": beyond.broken} if beyond is not None and beyond.broken else {})


def _closer(one: _Candidate, other: _Candidate) -> bool:
    return _apart(one) < _apart(other)


def _apart(candidate: _Candidate) -> tuple[bool, float, int]:
    return (not candidate.parity.holds, candidate.parity.max_difference, candidate.parity.label_flips)
