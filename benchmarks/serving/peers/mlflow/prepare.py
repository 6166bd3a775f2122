"""Saves both models the way MLflow wants them, with a signature; run once, before anything is timed."""

import sys
from pathlib import Path

import joblib
import mlflow.onnx
import mlflow.sklearn
import numpy as np
import onnx
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

folder = Path(sys.argv[1])
signature = ModelSignature(inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, 30))]))
mlflow.sklearn.save_model(
    joblib.load(folder / "trees.joblib"),
    folder / "mlflow-sklearn",
    signature=signature,
    pyfunc_predict_fn="predict_proba",
    serialization_format="cloudpickle",
)
one_thread = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}  # its own pool would leave the core it is given
mlflow.onnx.save_model(
    onnx.load(folder / "trees.onnx"),
    folder / "mlflow-onnx",
    signature=signature,
    onnx_session_options=one_thread,
)
