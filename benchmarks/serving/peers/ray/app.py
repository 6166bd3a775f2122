"""Ray Serve with one replica behind its HTTP proxy: JSON rows, or raw bytes."""

import signal

import models
import numpy as np
import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response


@serve.deployment(
    num_replicas=1,
    max_ongoing_requests=100,
    ray_actor_options={"num_cpus": 0.1},
    logging_config={"enable_access_log": False, "log_level": "ERROR"},
)
class Service:
    """Both models."""

    def __init__(self) -> None:
        self._trees = models.trees()
        self._image = models.image() if models.BACKEND == "onnx" else None

    async def __call__(self, request: Request) -> Response | list[list[float]]:
        """Probabilities of every row, or scores of every picture."""
        if request.url.path == "/predict":
            return self._trees(np.array((await request.json())["rows"], np.float32)).tolist()
        body = await request.body()
        is_rows = request.url.path == "/tensor"
        answer = self._trees(models.rows(body)) if is_rows else self._image(models.pictures(body))
        return Response(answer.astype(np.float32).tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=2**28, _temp_dir=str(models.MODELS / "ray"))
    serve.start(http_options={"host": "127.0.0.1", "port": models.PORT})
    serve.run(Service.bind())
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
