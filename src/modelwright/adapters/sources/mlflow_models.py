"""Models that MLflow keeps: ``models:/NAME/VERSION``, ``models:/NAME@ALIAS``, ``runs:/RUN/PATH`` -> a folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelwright.core.errors import BadInputError

SCHEMES = ("models:/", "runs:/")


@contextmanager
def fetched(uri: str) -> Iterator[Path]:
    """A copy of the model's folder, gone at the end. MLflow copies it from where MLFLOW_TRACKING_URI says.

    Raises:
        BadInputError: ``pack.missing-extra``, ``pack.not-in-mlflow``.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nobody asked for that connection
    try:
        from mlflow import artifacts  # lazy: an extra
    except ImportError as error:
        raise BadInputError(
            "pack.missing-extra",
            f"{error.name or 'mlflow'} is not installed.",
            why=f"{uri} is looked up by MLflow.",
            fix="Install it with: pip install 'modelwright[mlflow]', or download the model's folder and pack that.",
        ) from error
    with tempfile.TemporaryDirectory(prefix="modelwright-mlflow-") as place:
        try:
            found = Path(artifacts.download_artifacts(artifact_uri=uri, dst_path=place))
        except Exception as error:  # stores and clouds fail in every way
            said = str(error).strip().split("\n", 1)[0][:300]
            raise BadInputError(
                "pack.not-in-mlflow",
                f"MLflow gives no model for {uri!r}.",
                why=f"{type(error).__name__}: {said}",
                fix="Check the name, and that MLFLOW_TRACKING_URI names the server or the store that has it.",
            ) from error
        yield found
