"""`mlflow models serve` in the present environment. Its scoring server takes JSON and CSV, so tensors are JSON."""

import os
import sys
from pathlib import Path

import models

if __name__ == "__main__":
    cli = Path(sys.executable).with_name("mlflow")
    model = models.MODELS / f"mlflow-{models.BACKEND}"
    where = ["--host", "127.0.0.1", "--port", str(models.PORT), "--workers", "1", "--env-manager", "local"]
    os.execv(cli, [str(cli), "models", "serve", "--model-uri", str(model), *where])
