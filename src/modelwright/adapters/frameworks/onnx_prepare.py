"""What is done to an ``.onnx`` file before it is packed: checked, upgraded if it is too old, its data brought along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from modelwright.adapters.frameworks.onnx_external import external_tensors, merged
from modelwright.adapters.frameworks.onnx_split import split
from modelwright.core.content import Content, StoredFile, private_folder
from modelwright.core.errors import BadInputError
from modelwright.core.package_codec import MODEL, WEIGHTS

OLDEST_OPSET = 7
"""The oldest opset of the domain ``ai.onnx`` that ONNX Runtime promises to run."""
UPGRADED_OPSET = 17


@dataclass(frozen=True, slots=True)
class Prepared:
    """The graph, the tensors that it keeps beside it under their name in the package, and what was done."""

    graph: Content
    files: Mapping[str, Content] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


def prepared(graph: Content, path: Path, *, check: bool) -> Prepared:
    """The graph as it is packed.

    The large initializers of a large file go beside the graph, from where ONNX Runtime maps them. Where the library
    ``onnx`` is not installed ONNX Runtime's own checks must do.

    Raises:
        BadInputError: ``pack.unreadable-model``, ``pack.invalid-graph``, ``pack.unsafe-external-data``,
            ``pack.missing-external-data``, ``pack.old-opset``.
    """
    files: dict[str, Content] = {}
    if isinstance(graph, StoredFile) and (parts := split(graph)) is not None:
        graph, files[WEIGHTS] = parts
    made = Prepared(graph, files)
    if not isinstance(graph, bytes) or find_spec("onnx") is None:
        return made
    import onnx  # lazy: an extra

    try:
        model = onnx.load_model_from_string(graph)
    except Exception as error:  # protobuf's errors are not part of the interface of onnx
        raise BadInputError(
            "pack.unreadable-model",
            f"{path.name!r} is not an ONNX model that can be loaded.",
            why=_first_line(error),
            fix="Export the model again.",
        ) from error
    tensors = [] if files else external_tensors(model)
    if tensors:
        came = sorted({one.value for tensor in tensors for one in tensor.external_data if one.key == "location"})
        weights = merged(model, tensors, path.parent)
        note = f"{len(tensors)} tensors from {', '.join(came)}"
        made = Prepared(
            model.SerializeToString(), {} if weights is None else {WEIGHTS: weights}, {"external_data": note}
        )
    opset = max((one.version for one in model.opset_import if one.domain in {"", "ai.onnx"}), default=OLDEST_OPSET)
    if opset < OLDEST_OPSET:
        made = _upgraded(model, opset, path.name, large=bool(made.files))
    if check:
        _check(made, path.name)
    return made


def _upgraded(model: Any, opset: int, name: str, *, large: bool) -> Prepared:
    from onnx import version_converter  # lazy: an extra

    if large:
        raise _too_old(opset, name, "The converter needs its tensors in the graph, and they are too large.")
    try:
        made = version_converter.convert_version(model, UPGRADED_OPSET)
    except Exception as error:  # a C++ exception without a public class
        raise _too_old(opset, name, _first_line(error)) from error
    return Prepared(made.SerializeToString(), notes={"upgraded": f"from opset {opset} to {UPGRADED_OPSET}"})


def _too_old(opset: int, name: str, why: str) -> BadInputError:
    return BadInputError(
        "pack.old-opset",
        f"{name!r} is written in opset {opset}, which ONNX Runtime does not run, and cannot be upgraded.",
        why=why,
        fix=f"Export the model again with opset {UPGRADED_OPSET}.",
    )


def _check(made: Prepared, name: str) -> None:
    from onnx import checker  # lazy: an extra

    try:
        with private_folder({MODEL: made.graph, **made.files}) as folder:
            checker.check_model(str(folder / MODEL))
    except Exception as error:  # ValidationError, and what the parser raises
        raise BadInputError(
            "pack.invalid-graph",
            f"{name!r} is not a valid ONNX graph.",
            why=_first_line(error),
            fix="Export it again; or pack it with --option check=no if ONNX Runtime alone is to judge it.",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
