"""FastAPI on uvicorn with uvloop and httptools, as one writes it oneself: JSON rows, or raw bytes."""

import models
import numpy as np
import uvicorn
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

app = FastAPI()
trees = models.trees()
image = models.image() if models.BACKEND == "onnx" else None


class Rows(BaseModel):
    """Rows of features."""

    rows: list[list[float]]


@app.post("/predict")
async def predict(asked: Rows) -> list[list[float]]:
    """Probabilities of every row."""
    return trees(np.array(asked.rows, np.float32)).tolist()


@app.post("/tensor")
async def tensor(request: Request) -> Response:
    """The same in bytes."""
    answer = trees(models.rows(await request.body()))
    return Response(answer.astype(np.float32).tobytes(), media_type="application/octet-stream")


@app.post("/image")
async def picture(request: Request) -> Response:
    """Scores of every picture."""
    return Response(image(models.pictures(await request.body())).tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=models.PORT, log_level="warning", access_log=False)
