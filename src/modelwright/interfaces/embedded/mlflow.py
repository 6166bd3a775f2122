"""How MLflow opens a package: the ``loader_module`` that a package's ``MLmodel`` names.

It needs nothing of MLflow: the contract is a function and a method
(https://mlflow.org/docs/latest/ml/model/python_model/).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelwright.features.columns import output_columns
from modelwright.interfaces.embedded.packing import PackedModel, open_package


class PackageFunction:
    """A package as MLflow calls a model."""

    def __init__(self, model: PackedModel) -> None:
        self._model = model

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """A data frame of the outputs: one column for a label or value, one for each class of the probabilities.

        Args:
            model_input: a data frame with the package's columns, or arrays by input name.
            params: none are known.

        Returns:
            ``pandas.DataFrame`` [n, output columns] with the index of the rows; arrays by name where an output has
            more than two dimensions.

        Raises:
            ModelwrightError: as :meth:`PackedModel.predict`.
        """
        del params
        import pandas as pd  # lazy: whoever calls this has MLflow, which has it

        answers = self._model.predict(model_input)
        if any(array.ndim not in (1, 2) for array in answers.values()):
            return answers
        columns = output_columns(self._model.package.signature, answers)
        index = model_input.index if isinstance(model_input, pd.DataFrame) else None
        return pd.DataFrame(columns, index=index)


def _load_pyfunc(path: str) -> PackageFunction:
    """What MLflow calls with the package's folder; every byte that is read is verified."""
    return PackageFunction(open_package(Path(path)))
