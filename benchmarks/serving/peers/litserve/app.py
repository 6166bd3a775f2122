"""LitServe with one worker on the CPU. It hands an app JSON or form data, so tensors are JSON too."""

import litserve
import models
import numpy as np


class Api(litserve.LitAPI):
    """The trees."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - as LitServe calls it
        """Open the model."""
        self._trees = models.trees()

    def decode_request(self, request: dict[str, list[list[float]]]) -> np.ndarray:
        """Rows of features."""
        return np.array(request["rows"], np.float32)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Probabilities of every row."""
        return self._trees(x)

    def encode_response(self, output: np.ndarray) -> list[list[float]]:
        """As JSON."""
        return output.tolist()


if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=models.PORT, log_level="warning", access_log=False, generate_client_file=False)
