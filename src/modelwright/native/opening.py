"""From a native package's file to a callable: who opens it, and what its answers must look like."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.core.native import Native
from modelwright.core.signature import Signature
from modelwright.native.abilities import Abilities, Sequence
from modelwright.native.answers import bad_answer, conform, rows_of

GROUP = "modelwright.loaders"
Feeds = Mapping[str, NDArray[Any]]
Loader = Callable[..., Abilities | Callable[[Feeds], Mapping[str, Any]]]
# Known by place and not by entry point: a jailed process may see the code and not the metadata of its installation.
_BUILT_IN = {
    "booster": "modelwright.native.boosters:open_booster",
    "mlflow": "modelwright.native.mlflow_model:open_mlflow",
    "python": "modelwright.native.python_file:open_python",
    "river": "modelwright.native.river_model:open_river",
    "sklearn": "modelwright.native.sklearn_model:open_sklearn",
    "statsmodels": "modelwright.native.statsmodels_model:open_statsmodels",
    "tensorflow": "modelwright.native.tensorflow_model:open_tensorflow",
    "tokenized": "modelwright.native.tokenized_model:open_tokenized",
    "torch": "modelwright.native.torch_model:open_torch",
    "transformers": "modelwright.native.transformers_model:open_transformers",
}


class OpenModel:
    """A model that is open: call it with input tensors by name, and it gives output tensors by name.

    It raises BadInputError (``serve.model-rejected-input``) where the model raises, InternalError
    (``native.bad-answer``) for answers that the signature does not allow.

    Args:
        abilities: what the model can do.
        signature: what its answers are held to.
    """

    def __init__(self, abilities: Abilities, signature: Signature) -> None:
        self._abilities, self._signature = abilities, signature
        self.streams, self.sequences = abilities.stream is not None, abilities.takes_sequence
        self.learns = abilities.learn is not None

    def __call__(self, feeds: Feeds, sequence: Sequence | None = None) -> dict[str, NDArray[Any]]:
        """The answer, all rows of it; a request of no sequence is one of its own."""
        try:
            if self.sequences:
                answers = self._abilities.predict(feeds, sequence=sequence or Sequence("", start=True, end=True))
            else:
                answers = self._abilities.predict(feeds)
        except ModelwrightError:
            raise
        except Exception as error:
            raise rejected(error) from error
        return conform(answers, self._signature, rows_of(feeds, self._signature))

    def learn(self, feeds: Feeds, truth: NDArray[Any] | None = None) -> None:
        """Let the model learn from rows and their truth [n]; its next answers may differ. Only where it ``learns``.

        Raises:
            BadInputError: ``serve.model-rejected-input``.
        """
        assert self._abilities.learn is not None
        try:
            self._abilities.learn(feeds, truth)
        except ModelwrightError:
            raise
        except Exception as error:
            raise rejected(error) from error

    def content(self) -> bytes:
        """The model's file as it is now, for a package of what was learned. Only where it ``learns``."""
        assert self._abilities.content is not None
        return self._abilities.content()

    def stream(self, feeds: Feeds) -> Iterator[dict[str, NDArray[Any]]]:
        """The answer in chunks, each of any number of rows. Closing this closes the model's generator."""
        assert self._abilities.stream is not None
        try:
            chunks = iter(self._abilities.stream(feeds))
        except ModelwrightError:
            raise
        except TypeError as error:
            raise bad_answer(f"stream gave nothing to iterate over: {error}") from error
        except Exception as error:
            raise rejected(error) from error
        try:
            while True:
                try:
                    chunk = next(chunks)
                except StopIteration:
                    return
                except ModelwrightError:
                    raise
                except Exception as error:
                    raise rejected(error) from error
                yield conform(chunk, self._signature, None)
        finally:
            close = getattr(chunks, "close", None)  # generators have one, other iterators need none
            if close is not None:
                close()


def open_model(native: Native, file: Path, signature: Signature, *, device: str = "cpu", threads: int = 1) -> OpenModel:
    """Open a model that runs as code. Call it only where that code may do no harm: in a jailed process.

    Args:
        native: which loader opens the file.
        file: the model's file, in a folder of the package's files.
        signature: names the inputs and, unless it lists no outputs, what the answers are held to: names, datatypes,
            shapes, and as many rows as were asked.
        device: what the model runs on, as PyTorch names it (``cpu``, ``cuda:1``); given to loaders that take it.
        threads: how many the model may run on; given to loaders that take it.

    Returns:
        The model.

    Raises:
        BadInputError: ``native.unknown-loader``, ``native.unreadable-model``, and what a loader finds wrong.
    """
    opened = loader(native.loader)
    taken = inspect.signature(opened).parameters
    told = {name: said for name, said in (("device", device), ("threads", threads)) if name in taken}
    found = opened(file, signature, **told)
    return OpenModel(found if isinstance(found, Abilities) else Abilities(found), signature)


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
