"""A PyTorch model as an ONNX graph, with a first dimension of any size."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from modelwright.adapters.frameworks.sklearn_advice import first_line
from modelwright.adapters.frameworks.tensor_inputs import Typed
from modelwright.core.errors import RefusedError
from modelwright.native.torch_model import Opened


def to_onnx(opened: Opened, typed: Typed, outputs: Sequence[str]) -> bytes:
    """The graph, with the inputs and outputs named as they are to be served.

    Raises:
        RefusedError: ``pack.unconvertible``.
    """
    try:
        with quiet():
            graph = _script(opened, typed, outputs) if opened.kind == "script" else _dynamo(opened, typed, outputs)
    except Exception as error:
        raise RefusedError(
            "pack.unconvertible",
            f"{class_of(opened)} has no conversion to ONNX.",
            why=f"The exporter says: {cause(error)}.",
            fix="Write forward without branches that depend on values (torch.where, torch.cond), or pack it as it is: "
            "--native.",
        ) from error
    return graph


def exported(opened: Opened, typed: Typed) -> Any:
    """The module as an exported program, with a first dimension of any size."""
    import torch  # lazy: heavy

    with quiet():
        args, named = _arguments(typed)
        return torch.export.export(opened.call, args, named, dynamic_shapes=_shapes(typed))


def class_of(opened: Opened) -> str:
    """The class's own name."""
    if opened.kind == "script":
        return str(opened.model.original_name)
    return type(opened.model).__name__


def cause(error: BaseException) -> str:
    """The first line of what an exporter's error goes back to."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Neither warnings nor log lines of the exporter: what fails is said in the error."""
    names = ("torch.onnx", "torch.fx", "torch.export", "torch._export", "onnxscript", "onnx_ir")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    nothing = io.StringIO()
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _arguments(typed: Typed) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A few rows, never one: a dimension of size one is taken for a constant."""
    import torch  # lazy: heavy

    rows = len(next(iter(typed.feeds.values())))
    some = np.arange(rows) if 1 < rows <= 8 else np.resize(np.arange(min(rows, 3)), 3)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array[some])) for name, array in typed.feeds.items()}
    return (tuple(tensors.values()), {}) if len(tensors) == 1 else ((), tensors)


def _shapes(typed: Typed) -> Any:
    import torch  # lazy: heavy

    free = {
        spec.name: {axis: torch.export.Dim.DYNAMIC for axis, size in enumerate(spec.shape) if size < 0}
        for spec in typed.signature.inputs
    }
    return tuple(free.values()) if len(free) == 1 else free


def _dynamo(opened: Opened, typed: Typed, outputs: Sequence[str]) -> bytes:
    import torch  # lazy: heavy

    program = opened.model if opened.kind == "program" else exported(opened, typed)
    names = [spec.name for spec in typed.signature.inputs]
    made = torch.onnx.export(program, dynamo=True, input_names=names, output_names=list(outputs), verbose=False)
    assert made is not None
    return _plain(made.model_proto)


def _plain(proto: Any) -> bytes:
    """Without what the exporter notes beside each node: the lines of the caller's source files."""
    graphs = [proto.graph, *proto.functions]
    while graphs:
        graph = graphs.pop()
        del graph.metadata_props[:]
        for held in (*getattr(graph, "input", ()), *getattr(graph, "output", ()), *graph.value_info, *graph.node):
            if not isinstance(held, str):
                del held.metadata_props[:]
        for tensor in getattr(graph, "initializer", ()):
            del tensor.metadata_props[:]
        for node in graph.node:
            node.doc_string = ""
            for attribute in node.attribute:
                graphs += [attribute.g] if attribute.HasField("g") else []
                graphs += list(attribute.graphs)
    del proto.metadata_props[:]
    serialized: bytes = proto.SerializeToString(deterministic=True)
    return serialized


def _script(opened: Opened, typed: Typed, outputs: Sequence[str]) -> bytes:
    """TorchScript goes through the older exporter: the newer one takes modules and programs only."""
    import torch  # lazy: heavy

    args, tensors = _arguments(typed)
    names = [spec.name for spec in typed.signature.inputs]
    free = {
        spec.name: {axis: f"{spec.name}_{axis}" if axis else "rows" for axis, size in enumerate(spec.shape) if size < 0}
        for spec in typed.signature.inputs
    } | {name: {0: "rows"} for name in outputs}
    written = io.BytesIO()
    torch.onnx.export(
        opened.model,
        args or tuple(tensors[name] for name in names),
        written,
        dynamo=False,
        input_names=names,
        output_names=list(outputs),
        dynamic_axes=free,
    )
    return written.getvalue()
