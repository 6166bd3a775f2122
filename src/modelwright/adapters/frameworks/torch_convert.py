"""A PyTorch model that is open -> an ONNX graph proven against it, or the proof of what it answers as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from modelwright.adapters.frameworks.environment import environment
from modelwright.adapters.frameworks.native_answers import Outputs, stands_alone
from modelwright.adapters.frameworks.tensor_inputs import ways
from modelwright.adapters.frameworks.tensor_proof import TOLERANCE, Question, kept, proof, question
from modelwright.adapters.frameworks.torch_export import class_of, to_onnx
from modelwright.core.errors import BadInputError, RefusedError
from modelwright.core.native import Native
from modelwright.core.table import Table
from modelwright.native import open_model
from modelwright.native.torch_model import Opened, as_numpy, flat
from modelwright.ports.framework import Conversion, Hints


def ask(opened: Opened, examples: Table | None, hints: Hints, target: str) -> Question:
    """A way to give the examples that the model answers.

    Raises:
        BadInputError: ``pack.unsupported-model``, and those of
            :func:`modelwright.adapters.frameworks.tensor_proof.question` and
            :func:`modelwright.adapters.frameworks.tensor_inputs.ways`.
    """
    tried = ways(opened.names, opened.required, examples, hints.tensors, dynamic_axes(hints))
    return question(tried, partial(answers, opened), hints, target)


def answers(opened: Opened, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The model's own answers, under the names that it gives them."""
    import numpy as np
    import torch  # lazy: heavy

    given = {name: torch.from_numpy(np.array(array, order="C")) for name, array in tensors.items()}
    with torch.inference_mode():
        said = opened.call(*given.values()) if len(given) == 1 else opened.call(**given)
    try:
        return {name: as_numpy(tensor) for name, tensor in flat(said).items()}
    except TypeError as error:
        raise BadInputError(
            "pack.unsupported-model",
            f"{class_of(opened)} gives something else than tensors.",
            why=f"{error}.",
            fix="Let forward return a tensor, several, or a dictionary of them.",
        ) from error


def dynamic_axes(hints: Hints) -> dict[str, set[int]]:
    """What ``--option dynamic=tokens:1,mask:1`` says.

    Raises:
        BadInputError: ``pack.bad-option``.
    """
    found: dict[str, set[int]] = {}
    for word in filter(None, hints.options.get("dynamic", "").split(",")):
        name, _, axis = word.strip().rpartition(":")
        if not name or not axis.isdecimal():
            raise BadInputError(
                "pack.bad-option",
                f"{word!r} is not INPUT:AXIS.",
                fix="Write it as --option dynamic=tokens:1, for example.",
            )
        found.setdefault(name, set()).add(int(axis))
    return found


def convert(opened: Opened, asked: Question) -> Conversion:
    """The model as a graph that answers as it does: all rows, one, two, and each for itself.

    Raises:
        RefusedError: ``pack.unconvertible``, ``pack.parity-failed``, ``pack.not-repeatable``.
    """
    from modelwright.adapters.frameworks.onnx_file import session, specs  # lazy: loads ONNX Runtime

    graph = to_onnx(opened, asked.typed, list(asked.own))
    try:
        held = session(graph)
    except Exception as error:
        raise RefusedError(
            "pack.unconvertible",
            f"The graph of {class_of(opened)} cannot be loaded.",
            why=f"ONNX Runtime says: {str(error).strip().splitlines()[0][:300]}.",
            fix="Pack it as it is: --native.",
        ) from error
    names = list(asked.own)

    def run(tensors: Outputs) -> dict[str, NDArray[Any]]:
        return dict(zip(names, held.run(names, dict(tensors)), strict=True))

    proven = proof(asked, partial(answers, opened), run)
    found = {spec.name: spec for spec in specs(held.get_outputs())}
    outputs = tuple(replace(found[name], shape=(-1, *found[name].shape[1:])) for name in names)
    apart = stands_alone(run, asked.typed.feeds, tolerance=TOLERANCE)
    why = "It converts to ONNX, and the graph answers the examples as the original does: all at once, one and two."
    made = _conversion(opened, asked, why, apart)
    return replace(
        made,
        onnx=graph,
        signature=replace(asked.signature, outputs=outputs),
        parity=proven.parity,
        outputs=run(asked.typed.feeds),
        **proven.golden(run),
    )


def keep(opened: Opened, asked: Question, native: Native, file: Path, why: str) -> Conversion:
    """The model as it is, opened as it will be served.

    Raises:
        RefusedError: ``pack.native-differs``, ``pack.not-repeatable``.
    """
    outputs, parity, apart = kept(asked, open_model(native, file, asked.signature))
    return replace(_conversion(opened, asked, why, apart), native=native, parity=parity, outputs=outputs)


def _conversion(opened: Opened, asked: Question, why: str, apart: str) -> Conversion:
    import torch  # lazy: heavy

    notes = {"route": why}
    if apart:
        notes["rows"] = f"do not stand alone: {apart}"
    if opened.trained:
        notes["mode"] = "The module was in training mode; it is packed in evaluation mode."
    return Conversion(
        onnx=b"",
        signature=asked.signature,
        parity=None,
        inputs=asked.typed.feeds,
        outputs={},
        framework="torch",
        framework_version=torch.__version__.partition("+")[0],
        model_class=class_of(opened),
        environment=environment({"torch", "numpy", type(opened.model).__module__}),
        notes=notes,
        row_independent=not apart,
    )
