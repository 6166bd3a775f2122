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
from modelwright.adapters.frameworks.parity import Answers
from modelwright.adapters.frameworks.sklearn_outputs import as_answers, asked, kind_on, meaning
from modelwright.adapters.frameworks.sklearn_parts import model_class, require_supported
from modelwright.adapters.frameworks.sklearn_rows import (
    Layout,
    Typing,
    as_trained,
    features,
    input_signature,
    input_specs,
    layout_of,
)
from modelwright.core.errors import BadInputError
from modelwright.core.native import Native
from modelwright.core.table import Table
from modelwright.features.columns import feeds
from modelwright.features.tabular import rows_evenly
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
    if examples is None or len(examples) == 0:
        raise BadInputError(
            "pack.no-examples",
            "There are no examples.",
            why="A package keeps a model's answers to some rows, to prove wherever it is loaded that it gives them.",
            fix="Give some hundreds of rows held out from training: --data FILE, or examples= in Python.",
        )
    layout = layout_of(answering, examples)
    chosen = rows_evenly(len(examples), _ROWS)
    rows = examples.take(chosen)
    trained = as_trained(answering, layout, rows)
    kind = kind_on(answering, kind, trained)
    own = asked(answering, kind, trained)
    proven = first_proven(
        [
            lambda typing=typing: _prove(  # type: ignore[misc]
                answering, kind, native, file, layout, typing, rows, examples, own, target
            )
            for typing in native_typings(rows, layout.names)
        ]
    )
    apart = stands_alone(proven.run, proven.feeds)
    made = cases(proven.signature.features, rows)

    def ours(asked_rows: Table) -> Answers:
        return as_answers(kind, asked(answering, kind, as_trained(answering, layout, asked_rows)))

    def served(asked_rows: Table) -> Answers:
        return as_answers(kind, proven.run(feeds(proven.signature, asked_rows)))

    compared = Adversary(made, rows, ours, TOLERANCE).judge(served)
    beyond = {} if apart else golden_feeds(compared, proven.signature)
    notes = {"route": why} | ({"rows": f"do not stand alone: {apart}"} if apart else {})
    return Conversion(
        onnx=b"",
        signature=proven.signature,
        parity=replace(proven.parity, worst_row=int(chosen[proven.parity.worst_row]), adversarial=compared.record),
        inputs=proven.feeds,
        outputs=proven.outputs,
        framework="sklearn",
        framework_version=_version(),
        model_class=model_class(answering),
        environment=environment(_modules(model) | ({"pandas"} if layout.frame else set())),
        notes=notes,
        row_independent=not apart,
        native=native,
        beyond_inputs=beyond,
        beyond_outputs=proven.run(beyond) if beyond else {},
    )


def _prove(
    model: Any,
    kind: str,
    native: Native,
    file: Path,
    layout: Layout,
    typing: Typing,
    rows: Table,
    examples: Table,
    own: Outputs,
    target: str,
) -> Proven:
    null_as = null_word(examples, layout.names)
    # As on the ONNX route: a column that is called as an output is gets another name among the tensors.
    specs = tuple(
        replace(spec, name=f"{spec.name}_input") if spec.name in own else spec
        for spec in input_specs(layout, _joined(layout, typing))
    )
    inputs = input_signature(specs, features(layout, examples, null_as))
    signature = meaning(model, kind, inputs, output_specs(own), target)
    run = open_model(native, file, signature)
    tensors = feeds(signature, rows)
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
