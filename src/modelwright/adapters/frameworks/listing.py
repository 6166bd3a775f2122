"""What the adapters of this project take and need, as data: asking costs no import of a heavy library."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from typing import Any


@dataclass(frozen=True, slots=True)
class Listed:
    """One kind of model.

    ``adapter`` is the name of the framework adapter, ``modules`` what must be importable to pack such a model, and
    ``extra`` the extra of this project that installs them; empty where the core holds all that is needed.
    """

    adapter: str
    title: str
    takes: str
    modules: tuple[str, ...] = ()
    extra: str = ""

    @property
    def missing(self) -> str:
        """The first module that is not installed; empty where all are."""
        return next((name for name in self.modules if find_spec(name) is None), "")

    @property
    def install(self) -> str:
        """The command that installs what it needs; empty where nothing is."""
        return f"pip install 'modelwright[{self.extra}]'" if self.extra else ""


_TABULAR = ("sklearn", "skl2onnx", "onnx", "pandas")
_ESTIMATORS = "estimators, boosters, pickles of both"
_TEXT = ("torch", "transformers", "PIL")
_TENSORS = ("tensorflow", "tf2onnx", "onnx")
_TENSORFLOW = "SavedModel folders, .keras, .h5 (into .tflite too), .tflite"
LISTED = (
    Listed("sklearn", "scikit-learn", "estimators and pipelines, .joblib, .pkl, .pickle", _TABULAR, "sklearn"),
    Listed("boosters", "XGBoost", f"{_ESTIMATORS}, .ubj, .json", ("xgboost", *_TABULAR), "boosters"),
    Listed("boosters", "LightGBM", f"{_ESTIMATORS}, .txt", ("lightgbm", *_TABULAR), "boosters"),
    Listed("boosters", "CatBoost", f"{_ESTIMATORS}, .cbm", ("catboost", *_TABULAR), "catboost"),
    Listed("torch", "PyTorch", "modules, .pt, .pth, .pt2, .ts", ("torch", "onnx", "onnxscript"), "torch"),
    Listed("transformers", "transformers", "pipelines, folders with a config.json", _TEXT, "transformers"),
    Listed("tensorflow", "TensorFlow, Keras", _TENSORFLOW, _TENSORS, "tensorflow"),
    Listed("mlflow", "MLflow", "model directories, models:/ and runs:/", ("mlflow", "pandas"), "mlflow"),
    Listed("statsmodels", "statsmodels", "results, pickles of them", ("statsmodels", "onnx", "pandas"), "statsmodels"),
    Listed("river", "river", "models that learn one by one, pickles of them", ("river",), "river"),
    Listed("onnx", "ONNX", ".onnx files"),
    Listed("python", "Python", ".py files, folders with a model.py"),
    Listed("graph", "several models that answer as one", ".graph.yaml files"),
)


def listed(points: Iterable[EntryPoint]) -> list[dict[str, Any]]:
    """Every kind of model that can be packed; ``points`` are the adapters found, of other distributions too.

    Each has ``adapter``, ``title``, ``takes``, ``installed``, ``missing`` and ``install``: ``missing`` is the module
    that is not installed, or why a plugin's adapter cannot be imported; ``install`` the command that installs what it
    needs. Of another distribution's adapter only its own description is known.
    """
    found = [
        {
            "adapter": row.adapter,
            "title": row.title,
            "takes": row.takes,
            "installed": not row.missing,
            "missing": row.missing,
            "install": row.install,
        }
        for row in LISTED
    ]
    known = {row.adapter for row in LISTED}
    return found + [_of_plugin(point) for point in points if point.name not in known]


def _of_plugin(point: EntryPoint) -> dict[str, Any]:
    try:
        says, error = (point.load().__doc__ or "").strip().split("\n")[0], ""
    except ImportError as failure:
        says, error = "", str(failure)
    row: dict[str, Any] = {"adapter": point.name, "title": point.dist.name if point.dist else point.name, "takes": says}
    return row | {"installed": not error, "missing": error, "install": ""}
