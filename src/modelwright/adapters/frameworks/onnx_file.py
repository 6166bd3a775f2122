"""An ``.onnx`` file packed as it is: whatever it takes and gives, its own metadata is the signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.adapters.frameworks.onnx_prepare import Prepared, prepared
from modelwright.core.content import Content, content_at, private_folder
from modelwright.core.errors import BadInputError
from modelwright.core.native import Isolation
from modelwright.core.package_codec import MODEL
from modelwright.core.signature import DATATYPES, Signature, TensorSpec
from modelwright.core.table import Table
from modelwright.features.columns import feeds
from modelwright.features.describe import describe
from modelwright.ports.framework import NO_HINTS, Conversion, Hints, Route

OPTIONS = ("check",)
_MAX_GOLDEN_VALUES = 1_000_000
_TYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float": "FP32",
    "double": "FP64",
    "string": "BYTES",
}


def session(graph: bytes | Path) -> Any:
    """An ONNX Runtime session over serialized bytes, or a file in a private folder: CPU, one thread, silent."""
    import onnxruntime  # lazy: only packing or serving a graph needs it

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if isinstance(graph, bytes):  # tensors kept in files beside it would be read from where we stand
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", "/dev/null")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def specs(values: Sequence[Any]) -> tuple[TensorSpec, ...]:
    """Tensor specifications of a session's inputs or outputs; unnamed or dynamic sizes are -1.

    Raises:
        BadInputError: ``pack.unsupported-model`` for a value that is no tensor, or of a type the protocol lacks.
    """
    found = []
    for value in values:
        kind = value.type.removeprefix("tensor(").removesuffix(")")
        if not value.type.startswith("tensor(") or kind not in _TYPES:
            raise BadInputError(
                "pack.unsupported-model",
                f"The graph's value {value.name!r} is a {value.type}.",
                why="Only tensors of the Open Inference Protocol's datatypes can be served.",
                fix="Export the model with tensor inputs and outputs (for scikit-learn: zipmap=False).",
            )
        shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in value.shape)
        found.append(TensorSpec(value.name, _TYPES[kind], shape))
    return tuple(found)


class OnnxFileFramework:
    """Packs ONNX files."""

    name = "onnx"

    def owns(self, model: object) -> bool:
        """True for a path that ends in ``.onnx``."""
        return isinstance(model, Path) and model.suffix.lower() == ".onnx"

    def convert(
        self,
        model: object | Path,
        examples: Table | None,
        *,
        target: str = "",
        route: Route = "auto",
        isolation: Isolation = "strict",
        hints: Hints = NO_HINTS,
    ) -> Conversion:
        """Read the graph, take its signature, and run it once on the examples or on plain rows of ones.

        Raises:
            BadInputError: ``pack.missing-file``, ``pack.unreadable-model``, ``pack.unsupported-model``, or
                ``pack.wrong-route`` where it is to run as code.
        """
        del isolation  # a graph runs no code
        hints.require_known(self.name, OPTIONS, tensors=True)
        assert isinstance(model, Path)
        if route == "native":
            raise BadInputError(
                "pack.wrong-route",
                f"{model.name} is an ONNX graph, which holds no code.",
                fix="Leave --native out.",
            )
        made = prepared(_content(model), model, check=_checked(hints))
        held = _session(made, model.name)
        metadata = held.get_modelmeta()
        signature = _signature(specs(held.get_inputs()), specs(held.get_outputs()), examples, target)
        tensors = _given(signature, hints.tensors) if hints.tensors else _inputs(signature, examples)
        outputs = _outputs(held, tensors, signature)
        return Conversion(
            onnx=made.graph,
            files=made.files,
            signature=signature,
            parity=None,
            inputs=tensors if outputs else {},
            outputs=outputs,
            framework="onnx",
            framework_version="",
            model_class=metadata.graph_name or model.stem,
            notes={"route": "The file is an ONNX graph.", **made.notes}
            | ({"producer": metadata.producer_name} if metadata.producer_name else {}),
        )


def _session(made: Prepared, name: str) -> Any:
    try:
        if isinstance(made.graph, bytes) and not made.files:
            return session(made.graph)
        with private_folder({MODEL: made.graph, **made.files}) as folder:
            return session(folder / MODEL)
    except Exception as error:  # ONNX Runtime's errors share no public base class
        raise BadInputError(
            "pack.unreadable-model",
            f"{name!r} is not an ONNX model that can be loaded.",
            why=_first_line(error),
            fix="Export the model again. If it keeps tensors in files beside it: pip install 'modelwright[onnx]'.",
        ) from error


def _checked(hints: Hints) -> bool:
    said = hints.options.get("check", "yes")
    if said not in {"yes", "no"}:
        raise BadInputError(
            "pack.bad-option", f"The option check is {said!r}.", fix="Give --option check=yes or --option check=no."
        )
    return said == "yes"


def _content(path: Path) -> Content:
    try:
        return content_at(path)
    except OSError as error:
        raise BadInputError(
            "pack.missing-file", f"{path} cannot be read.", why=f"{error.strerror or error}.", fix="Check the path."
        ) from error


def _signature(
    inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], examples: Table | None, target: str
) -> Signature:
    """Task and classes are claimed only where outputs named as classifiers' are there with a known width."""
    known = {spec.name: spec for spec in outputs}
    scores = known.get("probabilities")
    width = scores.shape[1] if scores is not None and len(scores.shape) == 2 else -1
    named = Signature(inputs, outputs, target=target)
    if "label" in known and width >= 2:
        named = Signature(
            inputs,
            outputs,
            task="binary" if width == 2 else "multiclass",
            classes=tuple(str(index) for index in range(width)),
            label_output="label",
            score_output="probabilities",
            target=target,
        )
    return _with_columns(named, examples) if examples is not None else named


def _with_columns(signature: Signature, examples: Table) -> Signature:
    """Bind the examples' columns to the inputs: by name, or in order to the one matrix the model takes."""
    names = examples.names
    if all(spec.name in examples for spec in signature.inputs):
        inputs = tuple(replace(spec, features=(spec.name,)) for spec in signature.inputs)
    elif len(signature.inputs) == 1 and signature.inputs[0].shape[1:] in {(len(names),), (-1,)}:
        inputs = (replace(signature.inputs[0], features=names),)
    else:
        return signature
    features = tuple(describe(name, [examples[name]]) for spec in inputs for name in spec.features)
    return replace(signature, inputs=inputs, features=features)


def _given(signature: Signature, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The examples as the graph's inputs.

    Raises:
        BadInputError: ``pack.wrong-tensors``.
    """
    if len(tensors) == len(signature.inputs) == 1:
        tensors = {signature.inputs[0].name: next(iter(tensors.values()))}
    wanted = [f"{spec.name} {spec.datatype} {list(spec.shape)}" for spec in signature.inputs]
    absent = [spec.name for spec in signature.inputs if spec.name not in tensors]
    if absent or len(tensors) != len(signature.inputs):
        raise BadInputError(
            "pack.wrong-tensors",
            f"The examples are not the model's inputs{f': {absent[0]!r} is missing' if absent else ''}.",
            why=f"The model takes {', '.join(wanted)}; given: {', '.join(tensors) or 'none'}.",
            fix="Give one array for each input, named as it: numpy.savez('examples.npz', NAME=array, ...).",
        )
    return {spec.name: tensors[spec.name].astype(DATATYPES[spec.datatype]) for spec in signature.inputs}


def _inputs(signature: Signature, examples: Table | None) -> dict[str, NDArray[Any]]:
    if examples is not None and signature.features:
        return feeds(signature, examples)
    plain = {}
    for spec in signature.inputs:
        shape = tuple(1 if size < 0 else size for size in spec.shape)
        if int(np.prod(shape)) > _MAX_GOLDEN_VALUES:
            return {}
        plain[spec.name] = np.full(shape, "1" if spec.datatype == "BYTES" else 1, dtype=DATATYPES[spec.datatype])
    return plain


def _outputs(held: Any, tensors: dict[str, NDArray[Any]], signature: Signature) -> dict[str, NDArray[Any]]:
    """The graph's answers; nothing where it does not take such rows (an index out of its range, for example)."""
    if not tensors:
        return {}
    names = [spec.name for spec in signature.outputs]
    try:
        return dict(zip(names, held.run(names, tensors), strict=True))
    except Exception:  # noqa: BLE001 - a graph may refuse rows of ones; then it has no golden examples
        return {}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
