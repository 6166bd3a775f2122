"""What came back."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from modelwright.core.errors import BadInputError
from modelwright.core.signature import Signature
from modelwright.core.table import Column
from modelwright.features.columns import output_columns


@dataclass(frozen=True, slots=True)
class Predictions:
    """The answer to some rows.

    ``outputs`` maps tensor names to arrays ([rows, ...]; texts are ``str``); ``id`` is what ground truth refers to,
    ``version`` the version that answered, ``warnings`` what the model's input policy reports.
    """

    outputs: dict[str, NDArray[Any]]
    id: str
    model: str
    version: str
    warnings: tuple[str, ...]
    signature: Signature

    def __len__(self) -> int:
        """How many rows were answered."""
        first = next(iter(self.outputs.values()), None)
        return len(first) if first is not None and first.ndim else 0

    def columns(self) -> dict[str, Column]:
        """A column for each value of a row: ``label``, ``probabilities.<class>``, ``<output>.<number>``."""
        return output_columns(self.signature, self.outputs)

    def to_pandas(self) -> Any:
        """:meth:`columns` as a pandas data frame.

        Raises:
            BadInputError: ``client.not-installed``.
        """
        return _library("pandas").DataFrame(self.columns())

    def to_arrow(self) -> Any:
        """:meth:`columns` as a ``pyarrow.Table``.

        Raises:
            BadInputError: ``client.not-installed``.
        """
        return _library("pyarrow").table(self.columns())


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)  # lazy: the client itself needs no data-frame library
    except ImportError as error:
        raise BadInputError(
            "client.not-installed", f"{name} is not installed.", fix=f"pip install {name}, or use `columns()`."
        ) from error
