"""A TensorFlow model that is open -> a TensorFlow Lite model, proven against it. Runs in the jailed process only."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelwright.adapters.frameworks.native_answers import stands_alone
from modelwright.adapters.frameworks.sklearn_advice import first_line
from modelwright.adapters.frameworks.tensor_proof import TOLERANCE, Made, Proof, Question, proof
from modelwright.core.errors import RefusedError
from modelwright.core.native import Native
from modelwright.native import OpenModel, open_model
from modelwright.native.tensorflow_model import Opened

FILE = "model.tflite"
_OTHER_WAY = "leave format=tflite out: it becomes an ONNX graph where that answers alike, else it runs as code"
_MADE = Made("TensorFlow Lite model", "LiteRT", _OTHER_WAY)
_OPERATOR = re.compile(r"'(tf\.\w+)' op is neither|^\s+(tf\.\w+)\(", re.MULTILINE)
_SHOWN = 8
_SIGNATURE = "serving_default"


def in_order(names: Sequence[str]) -> list[str]:
    """The inputs in the order in which the loader finds them: that of their names in the file."""
    return sorted(names, key=_place)


def written(model: Opened, title: str) -> bytes:
    """The model as TensorFlow's converter writes it, with the operators that LiteRT has by itself and no others.

    Raises:
        RefusedError: ``pack.unconvertible``.
    """
    folder = Path("lite").resolve()  # the scratch directory is where this process stands
    try:
        _save(model, folder)
        return _converted(folder)
    except Exception as error:
        raise _unconvertible(title, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # scratch is small, and the model is written there next


def _unconvertible(title: str, error: Exception) -> RefusedError:
    said, fix = str(error), _MADE.advice
    missing = sorted({one or other for one, other in _OPERATOR.findall(said)})
    if missing:
        why = f"LiteRT has no operator for {', '.join(missing[:_SHOWN])}."
        fix = f"{fix} Or use other operators in its place."
    elif "No space left" in said:
        why = "It is larger than the room that the jailed process has for files."
    else:
        why = f"TensorFlow's converter says: {first_line(error)}."
    return RefusedError("pack.unconvertible", f"The {title} has no conversion to TensorFlow Lite.", why=why, fix=fix)


def _save(model: Opened, folder: Path) -> None:
    """The model as a SavedModel: only from that does the file get a signature, inputs and outputs by name.

    Its variables become constants first. The converter leaves some of them variables, and LiteRT reads a variable that
    nobody has assigned as whatever lies in memory. A model that changes a variable is refused here.
    """
    import tensorflow as tf  # lazy: heavy
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    traced: Any = model.traced
    places = [_place(name) for name in model.names]
    specs = [tf.TensorSpec(spec.shape, spec.dtype, name=place) for place, spec in zip(places, model.specs, strict=True)]
    names = _outputs(list(traced.get_concrete_function().structured_outputs))
    listed = tf.function(lambda *tensors: list(traced(*tensors).values()), input_signature=specs)
    frozen = convert_variables_to_constants_v2(listed.get_concrete_function())

    def call(*tensors: Any) -> dict[str, Any]:
        return dict(zip(names, tf.nest.flatten(frozen(*tensors)), strict=True))

    holder = tf.Module()
    holder.serve = tf.function(call, input_signature=specs)
    tf.saved_model.save(holder, str(folder), signatures={_SIGNATURE: holder.serve})


def _converted(folder: Path) -> bytes:
    import tensorflow as tf  # lazy: heavy

    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[_SIGNATURE])
    content: bytes = converter.convert()
    return content


def proven(content: bytes, asked: Question, model: Opened) -> tuple[OpenModel, Proof, str]:
    """The model opened as it will be served, its certificate, and why rows do not stand alone if so.

    Raises:
        RefusedError: ``pack.unconvertible``, ``pack.parity-failed``, ``pack.not-repeatable``.
    """
    file = Path(FILE).resolve()
    try:
        file.write_bytes(content)
        run = open_model(Native("tensorflow", FILE), file, asked.signature)
    except Exception as error:
        raise RefusedError(
            "pack.unconvertible",
            "The TensorFlow Lite model that was made cannot be opened.",
            why=f"LiteRT says: {first_line(error)}.",
            fix=_MADE.advice,
        ) from error
    made = proof(asked, model.answer, run, _MADE)
    return run, made, stands_alone(run, asked.typed.feeds, tolerance=TOLERANCE)


def _place(name: str) -> str:
    """What an input or output is called in the file: TensorFlow takes letters, digits and underscores there."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return plain if plain[:1].isalpha() else f"tensor_{plain}"


def _outputs(names: list[str]) -> list[str]:
    """Names that sort as the outputs stand, because the loader tells them apart by that order."""
    plain = [_place(name) for name in names]
    return plain if plain == sorted(set(plain)) else [f"output_{index:04}" for index in range(len(names))]
