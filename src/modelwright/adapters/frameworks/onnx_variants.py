"""Other forms of one ONNX graph: optimised offline, in half precision, quantized to 8 bits."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from modelwright.core.content import StoredFile, private_folder
from modelwright.core.errors import BadInputError, RefusedError
from modelwright.core.package import Package
from modelwright.core.package_codec import MODEL, WEIGHTS

Feeds = Mapping[str, NDArray[Any]]
_QUANTIZED = {"DequantizeLinear", "MatMulInteger", "ConvInteger", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul"}


def make(package: Package, kind: str, calibration: Feeds) -> bytes:
    """The package's graph as the variant ``kind``; ``calibration`` are rows of feeds, for ``int8-static``.

    Raises:
        BadInputError: ``optimize.unknown-variant``, ``optimize.no-graph``, ``pack.missing-extra``.
        RefusedError: ``optimize.not-applicable``: the graph has nothing that this changes, or cannot be changed so.
    """
    if kind not in KINDS:
        raise BadInputError(
            "optimize.unknown-variant", f"There is no variant {kind!r}.", fix=f"Known: {', '.join(KINDS)}."
        )
    if MODEL not in package.manifest.files:
        raise BadInputError(
            "optimize.no-graph",
            f"Package {package.name} has no ONNX graph.",
            why=f"Its route is {package.description.route}.",
            fix="Only a model that runs as ONNX has variants; pack it with --onnx.",
        )
    graph = package.content(MODEL)
    if isinstance(graph, StoredFile) or WEIGHTS in package.manifest.files:
        raise RefusedError(
            "optimize.not-applicable",
            f"The variant {kind} cannot be made of so large a graph.",
            why="The libraries that make it hold the whole graph in memory, several times.",
            fix="Quantize it where it was trained, and pack the result.",
        )
    with _advice_dropped(), private_folder({MODEL: graph}) as source, tempfile.TemporaryDirectory() as place:
        path = Path(place) / MODEL
        try:
            KINDS[kind](source / MODEL, path, calibration)
        except ImportError as error:
            raise BadInputError(
                "pack.missing-extra",
                f"The variant {kind} needs a library that is not installed.",
                why=f"{error}.",
                fix="pip install 'modelwright[onnx]'",
            ) from error
        except RefusedError:
            raise
        except Exception as error:  # the optimisers raise whatever their steps raise
            said = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise _not_applicable(kind, said) from error
        return path.read_bytes()


@contextlib.contextmanager
def _advice_dropped() -> Iterator[None]:
    """Not what the quantizer advises on the root logger. A filter there leaves every other logger as it is."""
    root = logging.getLogger()

    def grave(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    root.addFilter(grave)
    try:
        yield
    finally:
        root.removeFilter(grave)


def _optimized(source: Path, path: Path, level: str) -> None:
    import onnxruntime  # lazy: only packing or serving a graph needs it

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _basic(source: Path, path: Path, _: Feeds) -> None:
    _optimized(source, path, "ORT_ENABLE_BASIC")


def _extended(source: Path, path: Path, _: Feeds) -> None:
    _optimized(source, path, "ORT_ENABLE_EXTENDED")


def _half(source: Path, path: Path, _: Feeds) -> None:
    import onnx  # lazy: an extra
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(onnx.load(source), keep_io_types=True)
    if not any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in model.graph.initializer):
        raise _not_applicable("fp16", "no tensor of the graph can be kept in half precision")
    onnx.save(model, path)


def _dynamic(source: Path, path: Path, _: Feeds) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic  # lazy: needs the extra

    quantize_dynamic(source, path, weight_type=QuantType.QInt8)
    _require_quantized(path, "int8-dynamic")


def _static(source: Path, path: Path, calibration: Feeds) -> None:
    from onnxruntime.quantization import (  # lazy: as above
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    rows = [
        {name: tensor[at : at + 1] for name, tensor in calibration.items()}
        for at in range(len(next(iter(calibration.values()), ())))
    ]
    if not rows:
        raise _not_applicable("int8-static", "there are no rows to calibrate it on; give --data")

    class Rows(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
        def get_next(self) -> Any:
            return rows.pop() if rows else None

    quantize_static(
        source,
        path,
        Rows(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    _require_quantized(path, "int8-static")


def _require_quantized(path: Path, kind: str) -> None:
    import onnx  # lazy: an extra

    if not any(node.op_type in _QUANTIZED for node in onnx.load(path).graph.node):
        raise _not_applicable(kind, "no operator of the graph can be quantized (trees cannot, matrix products can)")


def _not_applicable(kind: str, why: str) -> RefusedError:
    return RefusedError(
        "optimize.not-applicable",
        f"The variant {kind} cannot be made of this graph.",
        why=f"{why[:1].upper()}{why[1:].rstrip('.')}.",
        fix="Leave it out; the other variants do not need it.",
    )


KINDS: Mapping[str, Callable[[Path, Path, Feeds], None]] = {
    "optimized-basic": _basic,
    "optimized-extended": _extended,
    "fp16": _half,
    "int8-dynamic": _dynamic,
    "int8-static": _static,
}
"""Variants by name, from what changes least to what changes most."""
