"""Calls a server with MLflow's scoring client and prints what it gave: ``calls.py HOST:PORT ROWS``."""

import json
import sys

import numpy as np
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient


def invoked(client, body, **more):
    """The answer, or the words of the client's exception."""
    try:
        return client.invoke(body, **more)
    except Exception as error:  # noqa: BLE001 - it raises no type of its own
        return str(error)


def main(address, rows):
    """Everything."""
    client = ScoringServerClient(*address.split(":"))
    client.wait_server_ready(timeout=10)
    frame = pd.DataFrame(rows, columns=["length", "width"])
    records = json.dumps({"dataframe_records": frame.to_dict(orient="records")})
    return {
        "ping": client.ping(),
        "version": client.get_version(),
        "rows of the answer's frame": len(client.invoke(frame).get_predictions()),
        "frame": invoked(client, frame),
        "columns in another order": invoked(client, frame[["width", "length"]]),
        "with parameters": invoked(client, frame, params={"temperature": 0.5}),
        "records": invoked(client, records),
        "array": invoked(client, np.array(rows)),
        "instances": invoked(client, json.dumps({"instances": rows})),
        "errors": [invoked(client, body) for body in (frame[["width"]], "{}", "no JSON")],
    }


print(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))))
