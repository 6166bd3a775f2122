"""MLServer in one process: its scikit-learn runtime, or a custom one with ONNX Runtime. Its REST takes no binary."""

import asyncio

import models
import numpy as np
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.settings import ModelParameters
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver_sklearn import SKLearnModel


class OnnxModel(MLModel):
    """A custom runtime, as MLServer's documentation has it."""

    async def load(self) -> bool:
        """Open the model."""
        self._trees = models.trees()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Probabilities of every row."""
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)
        output = NumpyCodec.encode_output("probabilities", self._trees(rows))
        return InferenceResponse(model_name=self.name, outputs=[output])


async def main() -> None:
    server = MLServer(
        Settings(
            host="127.0.0.1",
            http_port=models.PORT,
            grpc_port=models.free_port(),
            metrics_port=models.free_port(),
            parallel_workers=0,
            debug=False,
            load_models_at_startup=False,
        )
    )
    uri = ModelParameters(uri=str(models.MODELS / "trees.joblib"))
    kind = OnnxModel if models.BACKEND == "onnx" else SKLearnModel
    await server.start([ModelSettings(name="trees", implementation=kind, parameters=uri)])


if __name__ == "__main__":
    asyncio.run(main())
