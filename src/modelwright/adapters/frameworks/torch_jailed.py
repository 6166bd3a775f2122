"""PyTorch files inside the jailed converter."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelwright.adapters.frameworks.families import Asked
from modelwright.adapters.frameworks.routes import on_route
from modelwright.adapters.frameworks.torch_convert import ask, convert, keep
from modelwright.adapters.frameworks.torch_files import unsplittable
from modelwright.core.errors import BadInputError
from modelwright.core.native import Native
from modelwright.native.torch_model import Opened, of_module, open_file, settings_of
from modelwright.ports.framework import Conversion

SPLIT = "It is to be split over the devices of the machine that serves it."
_FILE = "model.pt"


def import_trusted() -> None:
    """Load what conversion needs before the jail closes: nothing of it has to be found from inside."""
    import onnxruntime
    import onnxscript  # noqa: F401 - loaded for the exporter
    import torch

    onnxruntime.disable_telemetry_events()
    torch.set_num_threads(1)


def opened(asked: Asked) -> Opened:
    """Open the file.

    Raises:
        BadInputError: ``pack.unreadable-model``.
    """
    try:
        return open_file(asked.path, settings_of(asked.path))
    except BadInputError as error:
        raise BadInputError(
            "pack.unreadable-model",
            "The file cannot be opened as a PyTorch model.",
            why=error.why,
            fix=error.fix,
        ) from error


def convert_opened(model: Any, asked: Asked) -> Conversion:
    """Convert on the route that was asked for, or keep the model as it is; a module may come out of a pickle."""
    held = model if isinstance(model, Opened) else of_module(model)
    question = ask(held, asked.examples, asked.hints, asked.target)
    split = bool(asked.hints.options.get("split"))
    if split and held.kind != "module":
        raise unsplittable()

    def as_code(why: str) -> Conversion:
        if held is model:
            return keep(held, question, Native("torch", asked.path.name, split=split), asked.path, why)
        return _saved_anew(held, question, why)

    why = SPLIT if split else asked.why
    return on_route(asked.route, lambda: convert(held, question), as_code, why=why, explain=True)


def _saved_anew(held: Opened, question: Any, why: str) -> Conversion:
    """A module that came out of joblib's or pickle's file, as a file of PyTorch's own."""
    import torch  # lazy: heavy

    written = io.BytesIO()
    torch.save(held.model, written)
    file = Path(_FILE).resolve()  # the scratch directory is where this process stands
    file.write_bytes(written.getvalue())
    made = keep(held, question, Native("torch", _FILE), file, why)
    return replace(made, files={_FILE: written.getvalue()})
