"""Folders of transformers models inside the jailed converter: what they answer to the examples, and by what.

The network becomes an ONNX graph beside its tokenizer where both together answer as the folder does.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from modelwright.adapters.frameworks.environment import environment
from modelwright.adapters.frameworks.families import Asked
from modelwright.adapters.frameworks.native_answers import Outputs, agreement, output_specs, stands_alone
from modelwright.adapters.frameworks.routes import on_route
from modelwright.adapters.frameworks.sklearn_advice import examples_rejected
from modelwright.adapters.frameworks.tensor_proof import TOLERANCE
from modelwright.adapters.frameworks.transformers_network import as_files
from modelwright.adapters.frameworks.transformers_proof import beyond, compared, texts
from modelwright.core.errors import BadInputError, RefusedError
from modelwright.core.native import Native
from modelwright.core.package import Parity
from modelwright.core.signature import Signature, TensorSpec
from modelwright.core.table import Table
from modelwright.features.columns import feeds
from modelwright.features.describe import describe
from modelwright.features.tabular import rows_evenly
from modelwright.native import OpenModel, open_model
from modelwright.native.abilities import Abilities
from modelwright.native.text_answers import IMAGE, LABEL, SCORES, TEXT, Task
from modelwright.native.tokenized_model import NETWORK, SETTINGS, TOKENIZER, open_parts
from modelwright.native.transformers_model import OpenFolder, open_folder
from modelwright.ports.framework import Conversion

NATIVE = Native("transformers", "config.json")
WHY = "A transformers folder runs as code: its tokenizer or image processor is no part of an ONNX graph."
LEAN = (
    "A transformers folder runs as code: its tokenizer is no part of an ONNX graph. Its network is one, and runs "
    "beside the library tokenizers, without torch and transformers: both together answer the examples, and {texts} "
    "texts made to be hard, as the folder does."
)
PICTURES = "Pictures are made ready by the library's own image processor, which is not rewritten here."
_FOLDER = "Leave --option network=onnx out: the folder runs with torch then."
_LEAN = Native("tokenized", SETTINGS)
_ROWS = 64


@dataclass(frozen=True, slots=True)
class Folder:
    """An open folder."""

    task: Task
    path: Path
    answer: OpenFolder


def import_trusted() -> None:
    """Load what opening needs before the jail closes."""
    import onnxruntime
    import torch
    import transformers  # noqa: F401 - loaded for those who import it later

    with contextlib.suppress(ImportError):  # the package says that the network stays as it is without it
        import onnxscript  # noqa: F401 - loaded for the exporter
    onnxruntime.disable_telemetry_events()
    torch.set_num_threads(1)


def opened(asked: Asked) -> Folder:
    """Open the folder.

    Raises:
        BadInputError: ``pack.unreadable-model``.
    """
    task = cast("Task", asked.hints.options["task"])
    try:
        return Folder(task, asked.path.parent, open_folder(asked.path.parent, task))
    except BadInputError as error:
        raise BadInputError(
            "pack.unreadable-model",
            "The folder cannot be opened as a transformers model.",
            why=error.why,
            fix=error.fix,
        ) from error


def convert_opened(model: Folder, asked: Asked) -> Conversion:
    """What a package needs to serve the folder.

    Raises:
        BadInputError: ``pack.no-examples``, ``pack.wrong-columns``, ``pack.wrong-tensors``, ``pack.examples-rejected``.
        RefusedError: ``pack.native-differs``, ``pack.not-repeatable``; ``pack.unconvertible``, ``pack.parity-failed``
            where the network is to be a graph.
    """
    inputs, tensors = _pictures(asked) if model.task == "image-classification" else _words(asked.examples)
    try:
        own = model.answer(tensors)
    except Exception as error:
        raise examples_rejected(error) from error
    signature = _meaning(replace(inputs, outputs=output_specs(own), target=asked.target), model)
    network = asked.hints.options["network"]
    return on_route(
        "native" if network == "torch" else network,
        lambda: _lean(model, signature, tensors),
        lambda why: _as_it_is(model, asked.path, signature, tensors, own, why),
    )


def _lean(model: Folder, signature: Signature, tensors: Outputs) -> Conversion:
    """The package of tokenizer and graph.

    Raises:
        RefusedError: ``pack.unconvertible``, ``pack.parity-failed``, ``pack.not-repeatable``.
    """
    if model.task == "image-classification":
        raise RefusedError("pack.unconvertible", PICTURES, fix=_FOLDER)
    files = as_files(model.answer, model.task)
    try:  # from memory: a network may be larger than the scratch directory
        answer = open_parts(files[SETTINGS], files[TOKENIZER], files[NETWORK])
    except BadInputError as error:
        raise RefusedError("pack.unconvertible", error.what, why=error.why, fix=_FOLDER) from error
    run = OpenModel(Abilities(answer), signature)
    outputs, parity = compared(model.answer, run, tensors)
    apart = stands_alone(run, tensors, tolerance=TOLERANCE)
    hard, agreed = beyond(model.answer, run, texts(model.answer.tokenizer, tensors[TEXT].reshape(-1).tolist()))
    kept = {TEXT: np.array([[text] for text in agreed], dtype=object)} if agreed else {}
    parity = replace(parity, adversarial=hard)
    made = _conversion(model, signature, tensors, outputs, apart, parity, LEAN.format(texts=hard.rows))
    return replace(
        made,
        environment=environment({"numpy", "onnxruntime", "tokenizers"}, alone={"tokenizers"}),
        native=_LEAN,
        files=files,
        beyond_inputs=kept,
        beyond_outputs=run(kept) if kept else {},
    )


def _as_it_is(
    model: Folder, file: Path, signature: Signature, tensors: Outputs, own: Outputs, reason: str
) -> Conversion:
    """The package of the folder, for torch and transformers; ``reason``: why not the other one."""
    run = open_model(NATIVE, file, signature)
    outputs = run(tensors)
    parity = agreement(own, outputs, numeric_type="as in the examples", tolerance=TOLERANCE)
    apart = stands_alone(run, tensors, tolerance=TOLERANCE)
    if not parity.holds:
        raise RefusedError(
            "pack.native-differs",
            "The packed model does not answer as the original does.",
            why=f"The largest difference is {parity.max_difference:.3g}, in row {parity.worst_row}.",
            fix="A model must give the same answer each time.",
        )
    why = f"{WHY} Its network runs with torch: {reason}"
    return _conversion(model, signature, tensors, outputs, apart, parity, why)


def _conversion(
    model: Folder, signature: Signature, tensors: Outputs, outputs: Outputs, apart: str, parity: Parity, why: str
) -> Conversion:
    import transformers  # lazy: heavy

    config = json.loads((model.path / NATIVE.file).read_bytes())
    notes = {"route": why, "task": model.task} | ({"rows": f"do not stand alone: {apart}"} if apart else {})
    return Conversion(
        onnx=b"",
        signature=signature,
        parity=parity,
        inputs=tensors,
        outputs=outputs,
        framework="transformers",
        framework_version=transformers.__version__,
        model_class=str((config.get("architectures") or [config.get("model_type")])[0]),
        environment=environment({"torch", "transformers", "tokenizers", "numpy"}),
        notes=notes,
        row_independent=not apart,
        native=NATIVE,
    )


def _meaning(signature: Signature, model: Folder) -> Signature:
    if not any(spec.name == SCORES for spec in signature.outputs):
        return signature
    classes = model.answer.classes
    if len(classes) < 2:
        return signature
    return replace(
        signature,
        task="binary" if len(classes) == 2 else "multiclass",
        classes=classes,
        label_output=LABEL,
        score_output=SCORES,
    )


def _words(examples: Table | None) -> tuple[Signature, dict[str, NDArray[Any]]]:
    """The one column of text."""
    if examples is None or len(examples) == 0:
        raise BadInputError(
            "pack.no-examples",
            "There are no examples.",
            why="A package keeps a model's answers to some texts, to prove wherever it is loaded that it gives them.",
            fix="Give a table with one column of text: --data FILE.",
        )
    if len(examples.names) != 1 or examples[examples.names[0]].dtype != object:
        raise BadInputError(
            "pack.wrong-columns",
            f"The examples have the columns {', '.join(examples.names)}.",
            why="The model takes one text.",
            fix="Give a table with one column of text; name the column of truth with --target.",
        )
    (name,) = examples.names
    described = describe(name, [examples[name]], null_as="")
    signature = Signature((TensorSpec(TEXT, "BYTES", (-1, 1), (name,)),), (), (described,))
    return signature, feeds(signature, examples.take(rows_evenly(len(examples), _ROWS)))


def _pictures(asked: Asked) -> tuple[Signature, dict[str, NDArray[Any]]]:
    """Pixels [n, height, width, 3] of any size that all pictures of a request have."""
    held = list(asked.hints.tensors.values())
    if len(held) != 1 or held[0].dtype != np.uint8 or held[0].ndim != 4 or held[0].shape[3] != 3 or not len(held[0]):
        raise BadInputError(
            "pack.wrong-tensors",
            "The examples are not pictures.",
            why="Asked is one array of red, green and blue as UINT8: [n, height, width, 3].",
            fix="Write it with numpy.savez('examples.npz', image=array) and give it with --data.",
        )
    signature = Signature((TensorSpec(IMAGE, "UINT8", (-1, -1, -1, 3)),), ())
    return signature, {IMAGE: held[0][rows_evenly(len(held[0]), _ROWS)]}
