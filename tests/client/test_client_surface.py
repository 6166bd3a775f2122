"""The client is light, is the same twice, and survives a fork."""

import inspect
import os
import subprocess
import sys

import numpy as np
import pytest

from modelwright.client import AsyncClient, Client
from modelwright.core.prediction_id import new_prediction_id


def test_importing_it_takes_neither_a_server_nor_a_data_frame_library_nor_asyncio():
    code = "import sys, modelwright.client; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    heavy = {"pandas", "polars", "pyarrow", "asyncio", "ssl", "httpx", "duckdb", "onnxruntime", "scipy"}
    parts = {name for name in found if name.startswith("modelwright.")}
    assert not found & heavy
    assert {name.split(".")[1] for name in parts} == {"client", "core", "features"}


@pytest.mark.parametrize("name", ["__init__", "close", "ready", "models", "metadata", "predict", "truth"])
def test_both_clients_take_the_same_and_say_the_same(name):
    one, other = getattr(Client, name), getattr(AsyncClient, name)
    assert inspect.signature(one) == inspect.signature(other)
    assert one.__doc__ == other.__doc__
    assert inspect.iscoroutinefunction(other) == (name != "__init__")


def test_ids_sort_by_time_and_do_not_repeat():
    ids = [new_prediction_id() for _ in range(2000)]
    assert len(set(ids)) == 2000
    assert [one[:12] for one in ids] == sorted(one[:12] for one in ids)
    assert all(len(one) == 32 and one[12] == "7" and one[16] in "89ab" for one in ids)


def test_a_child_process_uses_connections_and_ids_of_its_own(serve, sum_package):
    rows = np.ones((1, 3), np.float32)
    with Client(f"http://127.0.0.1:{serve(sum_package()).port}") as client:
        client.predict("total", rows)
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.write(writing, client.predict("total", rows).id.encode())
            finally:
                os._exit(0)
        os.close(writing)
        mine = client.predict("total", rows).id
        with os.fdopen(reading) as stream:
            theirs = stream.read()
        os.waitpid(child, 0)
        assert len(theirs) == 32
        assert theirs[13:] != mine[13:]
        assert client.predict("total", rows).outputs["total"].tolist() == [[3.0]]
