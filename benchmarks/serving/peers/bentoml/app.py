"""A BentoML service with one worker: JSON rows through its API, raw bytes through an ASGI app mounted on it.

The API itself takes bytes only as a file, which it writes to disk first: several times slower than the mounted app.
"""

import os
import sys
from pathlib import Path

import bentoml
import models
import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def tensor(request: Request) -> Response:
    """Probabilities of every row."""
    answer = bentoml.get_current_service().trees(models.rows(await request.body()))
    return Response(answer.astype(np.float32).tobytes(), media_type="application/octet-stream")


async def image(request: Request) -> Response:
    """Scores of every picture."""
    answer = bentoml.get_current_service().image(models.pictures(await request.body()))
    return Response(answer.tobytes(), media_type="application/octet-stream")


routes = [Route("/tensor", tensor, methods=["POST"]), Route("/image", image, methods=["POST"])]


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
@bentoml.asgi_app(Starlette(routes=routes), path="/raw")
class Service:
    """Both models."""

    def __init__(self) -> None:
        self.trees = models.trees()
        self.image = models.image() if models.BACKEND == "onnx" else None

    @bentoml.api
    async def predict(self, rows: list[list[float]]) -> list[list[float]]:
        """Probabilities of every row."""
        return self.trees(np.array(rows, np.float32)).tolist()


if __name__ == "__main__":
    bento = Path(sys.executable).with_name("bentoml")
    where = ["--host", "127.0.0.1", "--port", str(models.PORT), "--working-dir", str(Path(__file__).parent)]
    os.execv(bento, [str(bento), "serve", "app:Service", *where])
