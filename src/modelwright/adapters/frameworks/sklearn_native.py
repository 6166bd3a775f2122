"""A pickled model that stays as it is: its signature, and its answers through the code that will serve it.

Runs in the jailed process only.
"""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.adapters.frameworks.environment import environment
from modelwright.adapters.frameworks.native_answers import (
    Outputs,
    Proven,
    agreement,
    first_proven,
    native_typings,
    null_word,
    output_specs,
    stands_alone,
)
from modelwright.adapters.frameworks.sklearn_advice import first_line
from modelwright.adapters.frameworks.sklearn_graph import LABEL, SCORES, VALUE
from modelwright.adapters.frameworks.sklearn_parts import class_names, model_class, require_supported, type_name
from modelwright.adapters.frameworks.sklearn_rows import (
    Layout,
    Typing,
    as_trained,
    features,
    input_signature,
    input_specs,
    layout_of,
)
from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.core.native import Native
from modelwright.core.signature import Signature
from modelwright.core.table import Table
from modelwright.features.columns import feeds
from modelwright.features.tabular import rows_evenly
from modelwright.native import open_model
from modelwright.native.estimators import parts, unwrap
from modelwright.ports.framework import Conversion

NATIVE = Native("sklearn", "model.joblib")
_ROWS = 2000


def convert_native(model: Any, file: Path, examples: Table | None, *, target: str, why: str) -> Conversion:
    """What a package needs to serve ``model`` as code; ``file`` is where it was read from.

    Args:
        model: the model as it was opened.
        file: opened again as serving will open it.
        examples: feature rows.
        target: name of what is predicted.
        why: why it is not converted to ONNX.

    Raises:
        BadInputError: ``pack.unsupported-model``, ``pack.not-fitted``, ``pack.no-examples`` and others about examples.
        RefusedError: ``pack.native-differs``, ``pack.not-repeatable``.
    """
    kind = _kind(model)
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
    own = _asked(answering, kind, as_trained(answering, layout, rows))
    proven = first_proven(
        [
            lambda typing=typing: _prove(answering, kind, file, layout, typing, rows, examples, own, target)  # type: ignore[misc]
            for typing in native_typings(rows, layout.names)
        ]
    )
    apart = stands_alone(proven.run, proven.feeds)
    notes = {"route": why} | ({"rows": f"do not stand alone: {apart}"} if apart else {})
    return Conversion(
        onnx=b"",
        signature=proven.signature,
        parity=replace(proven.parity, worst_row=int(chosen[proven.parity.worst_row])),
        inputs=proven.feeds,
        outputs=proven.outputs,
        framework="sklearn",
        framework_version=_version(),
        model_class=model_class(answering),
        environment=environment(_modules(model) | ({"pandas"} if layout.frame else set())),
        notes=notes,
        row_independent=not apart,
        native=NATIVE,
    )


def _kind(model: Any) -> str:
    """``classifier``, ``regressor``, or ``other``: whatever else has ``predict``, such as an outlier detector."""
    try:
        return require_supported(model)
    except BadInputError as error:
        if error.code == "pack.unsupported-model" and callable(getattr(model, "predict", None)):
            return "other"
        if error.code != "pack.unsupported-model":
            raise
        raise BadInputError(
            "pack.unsupported-model",
            f"This {type_name(model)} cannot predict.",
            why="It has no method predict.",
            fix="Pack the pipeline that ends in the model.",
        ) from error


def _asked(model: Any, kind: str, rows: Any) -> Outputs:
    """The model's own answers, under the names of the outputs."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predicted = _plain(model.predict(rows))
            if kind == "classifier":
                scored = {SCORES: _plain(model.predict_proba(rows))} if hasattr(model, "predict_proba") else {}
                return {LABEL: predicted.reshape(-1)} | scored
            return {VALUE: predicted.reshape(len(predicted), -1) if kind == "regressor" else predicted}
    except ModelwrightError:
        raise
    except Exception as error:
        raise BadInputError(
            "pack.examples-rejected",
            "The model itself does not accept the examples.",
            why=f"{type(error).__name__}: {first_line(error)}.",
            fix="Give examples as the model was trained on them: same columns, kinds and missing values.",
        ) from error


def _plain(answer: Any) -> NDArray[Any]:
    """Numbers, booleans or an object array of ``str``."""
    array = np.asarray(answer)
    if array.dtype.kind in "biuf" and array.ndim:
        return array
    if array.dtype.kind in "UO" and array.ndim:
        words = [str(item) for item in array.reshape(-1).tolist()]
        return np.array(words, dtype=object).reshape(array.shape)
    raise BadInputError(
        "pack.unsupported-model",
        f"The model answers with {array.dtype}, in {array.ndim} dimensions.",
        fix="A model's answers must be arrays of numbers, booleans or text with one entry for each row.",
    )


def _prove(
    model: Any,
    kind: str,
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
    signature = _signature(model, kind, own, input_signature(specs, features(layout, examples, null_as)), target)
    run = open_model(NATIVE, file, signature)
    tensors = feeds(signature, rows)
    outputs = run(tensors)
    return Proven(signature, tensors, outputs, agreement(own, outputs, numeric_type=typing.name), run)


def _joined(layout: Layout, typing: Typing) -> Typing:
    """One datatype for a model of one matrix: the one that all columns have, else FP64."""
    found = set(typing.datatypes.values())
    if not layout.joined or len(found) == 1:
        return typing
    return Typing(typing.name, dict.fromkeys(layout.names, "FP64"))


def _signature(model: Any, kind: str, own: Outputs, inputs: Signature, target: str) -> Signature:
    specs = output_specs(own)
    if kind == "other":
        return replace(inputs, outputs=specs, target=target)
    if kind == "regressor":
        if own[VALUE].shape[1] != 1:  # several values for a row: no metric of ours is about that
            return replace(inputs, outputs=specs, target=target)
        return replace(inputs, outputs=specs, task="regression", label_output=VALUE, target=target)
    classes = class_names(model)
    return replace(
        inputs,
        outputs=specs,
        task="binary" if len(classes) == 2 else "multiclass",
        classes=classes,
        label_output=LABEL,
        score_output=SCORES if SCORES in own else "",
        target=target,
    )


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
