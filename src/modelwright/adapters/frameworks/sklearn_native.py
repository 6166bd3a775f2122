"""A pickled model that stays as it is: its signature, and its answers through the code that will serve it.

Runs in the jailed process only.
"""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelwright.adapters.frameworks.adversarial import Adversary, cases, golden_feeds
from modelwright.adapters.frameworks.environment import environment
from modelwright.adapters.frameworks.examples import require_examples
from modelwright.adapters.frameworks.native_answers import (
    TOLERANCE,
    Proven,
    agreement,
    first_proven,
    native_typings,
    null_word,
    output_specs,
    stands_alone,
)
from modelwright.adapters.frameworks.parity import Answers
from modelwright.adapters.frameworks.sklearn_outputs import as_answers, meaning
from modelwright.adapters.frameworks.sklearn_parts import model_class, require_supported
from modelwright.adapters.frameworks.sklearn_question import Question, question
from modelwright.adapters.frameworks.sklearn_rows import (
    Layout,
    Typing,
    features,
    input_signature,
    input_specs,
)
from modelwright.core.native import Native
from modelwright.core.table import Table
from modelwright.features.columns import feeds
from modelwright.native import open_model
from modelwright.native.estimators import parts, unwrap
from modelwright.ports.framework import Conversion

NATIVE = Native("sklearn", "model.joblib")
_ROWS = 2000


def convert_native(
    model: Any, file: Path, examples: Table | None, *, target: str, why: str, native: Native = NATIVE
) -> Conversion:
    """What a package needs to serve ``model`` as code; ``file`` is where it was read from.

    Args:
        model: the model as it was opened.
        file: opened again as serving will open it.
        examples: feature rows.
        target: name of what is predicted.
        why: why it is not converted to ONNX.
        native: how serving opens the file.

    Raises:
        BadInputError: ``pack.unsupported-model``, ``pack.not-fitted``, ``pack.no-examples`` and others about examples.
        RefusedError: ``pack.native-differs``, ``pack.not-repeatable``.
    """
    kind = require_supported(model)
    answering = unwrap(model)
    why_rows = "A package keeps a model's answers to some rows, to prove wherever it is loaded that it gives them."
    held = question(answering, kind, require_examples(examples, why_rows), most=_ROWS, target=target)
    proven = first_proven(
        [
            lambda typing=typing: _prove(held, native, file, typing)  # type: ignore[misc]
            for typing in native_typings(held.rows, held.layout.names)
        ]
    )
    apart = stands_alone(proven.run, proven.feeds)

    def served(rows: Table) -> Answers:
        return as_answers(held.kind, proven.run(feeds(proven.signature, rows)))

    compared = Adversary(cases(proven.signature.features, held.rows), held.rows, held.answers, TOLERANCE).judge(served)
    beyond = {} if apart else golden_feeds(compared, proven.signature)
    notes = {"route": why} | ({"rows": f"do not stand alone: {apart}"} if apart else {})
    return Conversion(
        onnx=b"",
        signature=proven.signature,
        parity=replace(proven.parity, worst_row=int(held.chosen[proven.parity.worst_row]), adversarial=compared.record),
        inputs=proven.feeds,
        outputs=proven.outputs,
        framework="sklearn",
        framework_version=_version(),
        model_class=model_class(answering),
        environment=environment(_modules(model) | ({"pandas"} if held.layout.frame else set())),
        notes=notes,
        row_independent=not apart,
        native=native,
        beyond_inputs=beyond,
        beyond_outputs=proven.run(beyond) if beyond else {},
    )


def _prove(held: Question, native: Native, file: Path, typing: Typing) -> Proven:
    layout, own = held.layout, held.own
    null_as = null_word(held.examples, layout.names)
    # As on the ONNX route: a column that is called as an output is gets another name among the tensors.
    specs = tuple(
        replace(spec, name=f"{spec.name}_input") if spec.name in own else spec
        for spec in input_specs(layout, _joined(layout, typing))
    )
    inputs = input_signature(specs, features(layout, held.examples, null_as))
    signature = meaning(held.model, held.kind, inputs, output_specs(own), held.target)
    run = open_model(native, file, signature)
    tensors = feeds(signature, held.rows)
    outputs = run(tensors)
    return Proven(signature, tensors, outputs, agreement(own, outputs, numeric_type=typing.name), run)


def _joined(layout: Layout, typing: Typing) -> Typing:
    """One datatype for a model of one matrix: the one that all columns have, else FP64."""
    found = set(typing.datatypes.values())
    if not layout.joined or len(found) == 1:
        return typing
    return Typing(typing.name, dict.fromkeys(layout.names, "FP64"))


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, content: Any) -> int:
        return memoryview(content).nbytes


class _Seen(pickle.Pickler):
    """Notes the modules of everything that a pickle of an object names."""

    def __init__(self) -> None:
        super().__init__(_Nowhere())
        self.modules: set[str] = set()

    def reducer_override(self, held: Any) -> Any:
        self.modules |= {
            str(name) for name in (type(held).__module__, getattr(held, "__module__", None)) if isinstance(name, str)
        }
        return NotImplemented


def _modules(model: Any) -> set[str]:
    """Modules that opening the model imports; of its parts alone where it cannot be pickled again."""
    seen = _Seen()
    try:
        seen.dump(model)
    except Exception:  # noqa: BLE001 - pickling fails in every way; what was seen so far is kept
        seen.modules |= {type(part).__module__ for part in parts(model)}
    return {*seen.modules, "sklearn", "joblib"}


def _version() -> str:
    import sklearn  # lazy: heavy

    version: str = sklearn.__version__
    return version
