"""From a native package's file to a callable: who opens it, and what its answers must look like."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.core.native import Native
from modelwright.core.signature import Signature
from modelwright.native.answers import conform, rows_of

GROUP = "modelwright.loaders"
Feeds = Mapping[str, NDArray[Any]]
Loader = Callable[..., Callable[[Feeds], Mapping[str, Any]]]
# Known by place and not by entry point: a jailed process may see the code and not the metadata of its installation.
_BUILT_IN = {
    "python": "modelwright.native.python_file:open_python",
    "sklearn": "modelwright.native.sklearn_model:open_sklearn",
}


def open_model(
    native: Native, file: Path, signature: Signature, *, device: str = "cpu"
) -> Callable[[Feeds], dict[str, NDArray[Any]]]:
    """Open a model that runs as code. Call it only where that code may do no harm: in a jailed process.

    Args:
        native: which loader opens the file.
        file: the model's file, in a folder of the package's files.
        signature: names the inputs and, unless it lists no outputs, what the answers are held to: names, datatypes,
            shapes, and as many rows as were asked.
        device: what the model runs on, as PyTorch names it (``cpu``, ``cuda:1``); given to loaders that take it.

    Returns:
        Input tensors by name to output tensors by name. It raises BadInputError (``serve.model-rejected-input``) where
        the model raises, InternalError (``native.bad-answer``) for answers that the signature does not allow.

    Raises:
        BadInputError: ``native.unknown-loader``, ``native.unreadable-model``, and what a loader finds wrong.
    """
    opened = loader(native.loader)
    takes_device = "device" in inspect.signature(opened).parameters
    answer = opened(file, signature, device=device) if takes_device else opened(file, signature)

    def run(feeds: Feeds) -> dict[str, NDArray[Any]]:
        try:
            answers = answer(feeds)
        except ModelwrightError:
            raise
        except Exception as error:
            raise rejected(error) from error
        return conform(answers, signature, rows_of(feeds, signature))

    return run


def loader(name: str) -> Loader:
    """The loader of that name: a built-in, else an entry point of the group ``modelwright.loaders``.

    Raises:
        BadInputError: ``native.unknown-loader``.
    """
    if name in _BUILT_IN:
        module, _, function = _BUILT_IN[name].partition(":")
        found: Loader = getattr(import_module(module), function)
        return found
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        raise BadInputError(
            "native.unknown-loader",
            f"Nothing here opens a model with the loader {name!r}.",
            why=f"Known: {', '.join(sorted({*_BUILT_IN, *points}))}.",
            fix="Install the plugin that the model was packed with.",
        )
    plugged: Loader = points[name].load()
    return plugged


def rejected(error: Exception) -> BadInputError:
    """What becomes of an exception that the model's own code raised."""
    said = str(error).strip().split("\n", 1)[0][:300]
    return BadInputError(
        "serve.model-rejected-input",
        "The model rejected its input.",
        why=f"{type(error).__name__}{f': {said}' if said else ''}",
        fix="Compare the tensors with the model's metadata.",
    )
