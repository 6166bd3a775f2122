"""TensorFlow's and Keras's files inside the jailed converter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from modelwright.adapters.frameworks import tensorflow_lite
from modelwright.adapters.frameworks.environment import environment
from modelwright.adapters.frameworks.families import Asked
from modelwright.adapters.frameworks.native_answers import stands_alone
from modelwright.adapters.frameworks.routes import on_route
from modelwright.adapters.frameworks.sklearn_advice import first_line
from modelwright.adapters.frameworks.tensor_inputs import ways
from modelwright.adapters.frameworks.tensor_proof import TOLERANCE, Question, kept, proof, question
from modelwright.core.errors import BadInputError, RefusedError
from modelwright.core.native import Native
from modelwright.native import open_model
from modelwright.native.tensorflow_model import Opened, open_file
from modelwright.ports.framework import Conversion

_OPSET = 18
_TITLES = {"keras": "Keras model", "saved_model": "SavedModel", "tflite": "TensorFlow Lite model"}
LITE = "It is a TensorFlow Lite model, which runs as it is."


def import_trusted() -> None:
    """Nothing: what is imported depends on the file, and Python's own installation can be read from inside."""


def opened(asked: Asked) -> Opened:
    """Open the file.

    Raises:
        BadInputError: ``pack.unreadable-model``.
    """
    try:
        return open_file(asked.path)
    except BadInputError as error:
        raise BadInputError("pack.unreadable-model", error.what, why=error.why, fix=error.fix) from error


def convert_opened(model: Opened, asked: Asked) -> Conversion:
    """Convert on the route or to the format that was asked for, or keep the model as it is."""
    made_lite = bool(asked.hints.options.get("format")) and model.kind != "tflite"
    names = tensorflow_lite.in_order(model.names) if made_lite else model.names
    given = ways(names, len(names), asked.examples, asked.hints.tensors, {})
    questioned = question(given, model.answer, asked.hints, asked.target)
    if made_lite:
        return _lite(model, questioned)

    def as_code(why: str) -> Conversion:
        native = Native("tensorflow", asked.path.name)
        outputs, parity, apart = kept(questioned, open_model(native, asked.path, questioned.signature))
        return replace(_conversion(model, questioned, why, apart), native=native, parity=parity, outputs=outputs)

    why = asked.why or (LITE if model.kind == "tflite" else "")
    return on_route(asked.route, lambda: _graph(model, questioned), as_code, why=why, explain=True)


def _lite(model: Opened, questioned: Question) -> Conversion:
    title = _TITLES[model.kind]
    content = tensorflow_lite.written(model, title)
    run, proven, apart = tensorflow_lite.proven(content, questioned, model)
    described = _conversion(model, questioned, "", apart)
    why = (
        f"It was asked for with format=tflite. TensorFlow {described.framework_version} made a TensorFlow Lite model "
        f"of the {title}, and that answers the examples as the original does: all at once, one and two."
    )
    return replace(
        described,
        native=Native("tensorflow", tensorflow_lite.FILE),
        files={tensorflow_lite.FILE: content},
        parity=proven.parity,
        outputs=run(questioned.typed.feeds),
        **proven.golden(run),
        environment=environment({"ai_edge_litert", "numpy"}),  # what serves it; TensorFlow does not
        notes=described.notes | {"route": why},
    )


def _graph(model: Opened, asked: Question) -> Conversion:
    from modelwright.adapters.frameworks.onnx_file import session, specs  # lazy: loads ONNX Runtime

    try:
        content, inputs = _written(model)
        held = session(content)
    except Exception as error:
        raise RefusedError(
            "pack.unconvertible",
            f"The {_TITLES[model.kind]} has no conversion to ONNX.",
            why=f"The converter says: {first_line(error)}.",
            fix="Leave --onnx out: it runs as code.",
        ) from error
    names = list(asked.own)
    places = [output.name for output in held.get_outputs()]

    def run(feeds: Any) -> Any:
        given = {inputs[name]: array for name, array in feeds.items()}
        return dict(zip(names, held.run(places, given), strict=True))

    proven = proof(asked, model.answer, run)
    apart = stands_alone(run, asked.typed.feeds, tolerance=TOLERANCE)
    why = "It converts to ONNX, and the graph answers the examples as the original does: all at once, one and two."
    found = specs(held.get_outputs())
    outputs = tuple(
        replace(spec, name=name, shape=(-1, *spec.shape[1:])) for name, spec in zip(names, found, strict=True)
    )
    return replace(
        _conversion(model, asked, why, apart),
        onnx=_renamed(
            content, {**{held: name for name, held in inputs.items()}, **dict(zip(places, names, strict=True))}
        ),
        signature=replace(asked.signature, outputs=outputs),
        parity=proven.parity,
        outputs=run(asked.typed.feeds),
        **proven.golden(run),
    )


def _written(model: Opened) -> tuple[bytes, dict[str, str]]:
    """The graph as the converter writes it, and its inputs by the model's names."""
    import tf2onnx  # lazy: heavy

    proto, _ = tf2onnx.convert.from_function(model.traced, input_signature=model.specs, opset=_OPSET)
    placed = [held.name for held in proto.graph.input]
    return proto.SerializeToString(deterministic=True), dict(zip(model.names, placed, strict=True))


def _renamed(content: bytes, wanted: dict[str, str]) -> bytes:
    import onnx  # lazy: heavy

    from modelwright.adapters.frameworks import onnx_graph

    proto = onnx.load_from_string(content)
    onnx_graph.rename(proto.graph, wanted)
    written: bytes = proto.SerializeToString(deterministic=True)
    return written


def _conversion(model: Opened, asked: Question, why: str, apart: str) -> Conversion:
    module = "ai_edge_litert" if model.kind == "tflite" else "tensorflow"
    rows = {"rows": f"do not stand alone: {apart}"} if apart else {}
    locked = environment({module, "numpy"} | ({"keras"} if model.kind == "keras" else set()))
    version = next((row["version"] for row in locked if row["name"].startswith(module.replace("_", "-"))), "")
    return Conversion(
        onnx=b"",
        signature=asked.signature,
        parity=None,
        inputs=asked.typed.feeds,
        outputs={},
        framework="tensorflow",
        framework_version=version,
        model_class=type(model.model).__name__ if model.kind == "keras" else _TITLES[model.kind],
        environment=locked,
        notes={"route": why} | rows,
        row_independent=not apart,
    )
