"""The process of a native model: it confines itself, opens the model, and answers one frame after another.

It is started by :mod:`modelwright.adapters.runners.worker` with the descriptor of a socket whose first frame tells the
rest. What the model prints goes nowhere.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelwright.adapters.runners.frames import READY, REFUSED, EndedError, Frames
from modelwright.adapters.runners.native_held import hold
from modelwright.adapters.runners.native_turns import NativeTurns, why
from modelwright.core import package_codec
from modelwright.jail import Held, require, tie_to_parent
from modelwright.native import OpenModel, open_model

MAX_REQUEST_BYTES = 2**32
_TRUSTED = {
    "sklearn": ("pandas", "sklearn", "joblib"),
    "tokenized": ("onnxruntime", "tokenizers"),
    "torch": ("torch",),
    "transformers": ("torch", "transformers"),
}
"""What a loader needs that is imported before the process gives up what importing may need."""


def main() -> None:
    """Serve the socket whose descriptor is the second argument, until the other side hangs up."""
    serve(int(sys.argv[2]), os.memfd_create("tensors", os.MFD_CLOEXEC), None)


def serve(descriptor: int, file: int, held: Held | None) -> None:
    """Serve a socket; ``file`` is a file in memory for large tensors, ``held`` the jail where it is closed already."""
    channel = socket.socket(fileno=descriptor)
    frames = Frames(channel, max_bytes=MAX_REQUEST_BYTES, file=file)
    with contextlib.suppress(EndedError):
        told = frames.receive()
        try:
            model, level = _open(json.loads(told.text), (channel.fileno(), file), held)
        except Exception as error:  # noqa: BLE001 - a model's code may raise anything; the gateway says it
            frames.send_text(REFUSED, told.run, why(error))
            return
        frames.send_text(READY, told.run, level.encode())
        NativeTurns(frames, model).serve()


def _open(request: Mapping[str, Any], keep: tuple[int, ...], held: Held | None) -> tuple[OpenModel, str]:
    tie_to_parent(request["parent"])
    files = Path(request["files"])
    native = package_codec.native_from_json((files / package_codec.NATIVE).read_bytes())
    signature = package_codec.signature_from_json((files / package_codec.SIGNATURE).read_bytes())
    for name in _TRUSTED.get(native.loader, ()):
        with contextlib.suppress(ImportError):  # the loader says what is missing
            importlib.import_module(name)
    held = held or hold(request, keep)
    require(held, request["isolation"])
    if "sklearn" in sys.modules:  # a run calls many of its functions, and each looks at its arguments again
        sys.modules["sklearn"].set_config(skip_parameter_validation=True)
    if "threadpoolctl" in sys.modules:  # with scikit-learn; no pool may stand before the jail closes around all
        sys.modules["threadpoolctl"].threadpool_limits(request["threads"])
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(request["threads"])
    os.environ["MODELWRIGHT_DEVICE"] = request["device"]  # for code that is no class with a parameter for it
    device, threads = request["device"], request["threads"]
    return open_model(native, files / native.file, signature, device=device, threads=threads), held.level
