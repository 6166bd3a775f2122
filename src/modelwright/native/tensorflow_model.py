"""Opens what TensorFlow and Keras save: SavedModel folders, ``.keras`` and ``.h5`` files, and TensorFlow Lite's."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError
from modelwright.core.signature import Signature

Feeds = Mapping[str, NDArray[Any]]
Kind = Literal["keras", "saved_model", "tflite"]
SAVED_MODEL = "saved_model.pb"
KINDS: Mapping[str, Kind] = {".keras": "keras", ".h5": "keras", ".tflite": "tflite", ".pb": "saved_model"}


@dataclass(frozen=True, slots=True)
class Opened:
    """A model that answers arrays by name with arrays by name.

    ``names`` are its inputs; ``model`` is what the file held; ``specs`` are the inputs' ``tf.TensorSpec`` and
    ``traced`` takes them in that order, where there is a graph that may be traced.
    """

    kind: Kind
    names: tuple[str, ...]
    answer: Callable[[Feeds], dict[str, NDArray[Any]]]
    model: Any
    specs: tuple[Any, ...] = ()
    traced: Callable[..., Any] | None = None


def open_tensorflow(file: Path, signature: Signature) -> Callable[[Feeds], dict[str, NDArray[Any]]]:
    """Open the model and give what answers tensors as the signature names them.

    Raises:
        BadInputError: ``native.unreadable-model``.
    """
    opened = open_file(file)
    names = [spec.name for spec in signature.outputs]
    inputs = dict(zip((spec.name for spec in signature.inputs), opened.names, strict=False))

    def answer(feeds: Feeds) -> dict[str, NDArray[Any]]:
        found = opened.answer({inputs[name]: array for name, array in feeds.items()})
        return dict(zip(names, found.values(), strict=True)) if names else found

    return answer


def open_file(file: Path) -> Opened:
    """The model in a file, or in the folder of a ``saved_model.pb``.

    Raises:
        BadInputError: ``native.unreadable-model``.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("KERAS_HOME", str(Path.cwd()))  # it writes its settings there; a jail has no other place
    kind = KINDS[file.suffix.lower()]
    try:
        return _OPENERS[kind](file)
    except ModuleNotFoundError as error:
        raise BadInputError(
            "native.unreadable-model",
            f"The model needs the module {error.name!r}, which is not installed here.",
            fix="Install it with: pip install 'modelwright[tensorflow]'",
        ) from error
    except BadInputError:
        raise
    except Exception as error:
        said = str(error).strip().split("\n", 1)[0][:300]
        code = "Lambda" in str(error) or "safe_mode" in str(error)
        raise BadInputError(
            "native.unreadable-model",
            f"{file.name!r} cannot be opened.",
            why=f"{type(error).__name__}: {said}." + (" It holds Python code." if code else ""),
            fix="Save it as a SavedModel folder, model.export(FOLDER), which holds operators and no Python code.",
        ) from error


def _open_keras(file: Path) -> Opened:
    import keras  # lazy: only its models need it

    model = keras.saving.load_model(str(file), compile=False, safe_mode=True)
    return of_keras(model)


def of_keras(model: Any) -> Opened:
    """A Keras model of named inputs that is open; it answers as in ``predict``, without dropout."""
    import tensorflow as tf  # lazy: only its models need it

    inputs = list(model.inputs or ())
    if not inputs:
        raise ValueError("the model was never built, so that it has no inputs")
    names = tuple(str(held.name) for held in inputs)
    specs = tuple(tf.TensorSpec(tuple(held.shape), held.dtype, name=held.name) for held in inputs)
    keys = list(model.input) if isinstance(getattr(model, "input", None), dict) else None

    def call(*tensors: Any) -> Any:
        given = dict(zip(keys, tensors, strict=True)) if keys else list(tensors) if len(tensors) > 1 else tensors[0]
        return flat(model(given, training=False))

    traced = tf.function(call, input_signature=specs)
    return Opened("keras", names, _asking(traced, names, specs), model, specs, traced)


def _open_saved_model(file: Path) -> Opened:
    import tensorflow as tf  # lazy: only its models need it

    held = tf.saved_model.load(str(file.parent))
    if not held.signatures:
        raise ValueError("the SavedModel has no signature")
    chosen = held.signatures.get("serving_default") or next(iter(held.signatures.values()))
    wanted = chosen.structured_input_signature[1]
    names = tuple(sorted(wanted))
    specs = tuple(tf.TensorSpec(wanted[name].shape, wanted[name].dtype, name=name) for name in names)

    def call(*tensors: Any) -> Any:
        return flat(chosen(**dict(zip(names, tensors, strict=True))))

    traced = tf.function(call, input_signature=specs)
    # The model must outlive this function: its signatures hold their variables by weak references alone.
    return Opened("saved_model", names, _asking(traced, names, specs), held, specs, traced)


def _asking(traced: Any, names: Sequence[str], specs: Sequence[Any]) -> Callable[[Feeds], dict[str, NDArray[Any]]]:
    import tensorflow as tf  # lazy: as above

    def answer(feeds: Feeds) -> dict[str, NDArray[Any]]:
        given = [
            tf.constant(np.ascontiguousarray(feeds[name]), dtype=spec.dtype)
            for name, spec in zip(names, specs, strict=True)
        ]
        return {name: np.asarray(tensor.numpy()) for name, tensor in traced(*given).items()}

    return answer


def _open_tflite(file: Path) -> Opened:
    from ai_edge_litert.interpreter import Interpreter  # lazy: only its models need it

    interpreter = Interpreter(model_content=file.read_bytes(), num_threads=1)
    signatures = interpreter.get_signature_list()
    if not signatures:
        raise ValueError("the model has no signature")
    name = "serving_default" if "serving_default" in signatures else next(iter(signatures))
    run = interpreter.get_signature_runner(name)
    types = {key: held["dtype"] for key, held in run.get_input_details().items()}

    def answer(feeds: Feeds) -> dict[str, NDArray[Any]]:
        found = run(**{key: np.ascontiguousarray(array, dtype=types[key]) for key, array in feeds.items()})
        return {key: np.asarray(array) for key, array in sorted(found.items())}

    return Opened("tflite", tuple(sorted(types)), answer, interpreter)


_OPENERS: Mapping[Kind, Callable[[Path], Opened]] = {
    "keras": _open_keras,
    "saved_model": _open_saved_model,
    "tflite": _open_tflite,
}


def flat(answer: Any) -> dict[str, Any]:
    """The tensors of an answer by name: ``output``, ``output_0`` and so on, or the keys of a dictionary."""
    if isinstance(answer, Mapping):
        return {str(name): answer[name] for name in sorted(answer)}
    if isinstance(answer, tuple | list):
        return {f"output_{index}": one for index, one in enumerate(answer)}
    return {"output": answer}
