"""How each peer wants to be asked and how it answers: its own natural form, never ours forced upon it."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
JSON, BYTES = "application/json", "application/octet-stream"


@dataclass(frozen=True)
class Request:
    """One POST."""

    path: str
    headers: dict[str, str]
    body: bytes

    def wire(self, host: str, more: dict[str, str]) -> bytes:
        """The complete HTTP/1.1 request."""
        headers = {"Host": host, **self.headers, **more, "Content-Length": str(len(self.body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {self.path} HTTP/1.1\r\n{head}\r\n".encode() + self.body


@dataclass(frozen=True)
class Form:
    """``encode`` makes the request of an array, ``decode`` the numbers of the answer's headers and body, flat."""

    encode: Callable[[Floats], Request]
    decode: Callable[[dict[str, str], bytes], Floats]
    binary: bool = False


def rows(path: str, asked: str = "rows", answered: tuple[str, ...] = ()) -> Form:
    """JSON ``{asked: [[...], ...]}``, answered with a list of lists that lies under the keys ``answered``."""

    def encode(array: Floats) -> Request:
        return Request(path, {"Content-Type": JSON}, json.dumps({asked: _short(array)}).encode())

    def decode(_: dict[str, str], body: bytes) -> Floats:
        said = json.loads(body)
        for key in answered:
            said = said[key]
        return np.array(said, np.float32).ravel()

    return Form(encode, decode)


def raw(path: str) -> Form:
    """The tensor's bytes, answered with bytes."""

    def encode(array: Floats) -> Request:
        return Request(path, {"Content-Type": BYTES}, array.tobytes())

    return Form(encode, lambda _, body: np.frombuffer(body, np.float32), binary=True)


def v2(model: str, output: str) -> Form:
    """The Open Inference Protocol in JSON, with the tensor's values in one flat list."""

    def encode(array: Floats) -> Request:
        tensor = {"name": "X", "shape": list(array.shape), "datatype": "FP32", "data": _short(array.ravel())}
        body = json.dumps({"inputs": [tensor], "outputs": [{"name": output}]}).encode()
        return Request(f"/v2/models/{model}/infer", {"Content-Type": JSON}, body)

    def decode(_: dict[str, str], body: bytes) -> Floats:
        return np.array(json.loads(body)["outputs"][0]["data"], np.float32).ravel()

    return Form(encode, decode)


def v2_binary(model: str, output: str) -> Form:
    """The Open Inference Protocol with its binary extension: a JSON head, then the tensor's bytes."""

    def encode(array: Floats) -> Request:
        size = {"binary_data_size": array.nbytes}
        tensor = {"name": "X", "shape": list(array.shape), "datatype": "FP32", "parameters": size}
        wanted = {"name": output, "parameters": {"binary_data": True}}
        head = json.dumps({"inputs": [tensor], "outputs": [wanted]}).encode()
        headers = {"Content-Type": BYTES, "Inference-Header-Content-Length": str(len(head))}
        return Request(f"/v2/models/{model}/infer", headers, head + array.tobytes())

    def decode(headers: dict[str, str], body: bytes) -> Floats:
        return np.frombuffer(body[int(headers["inference-header-content-length"]) :], np.float32)

    return Form(encode, decode, binary=True)


def _short(array: Floats) -> list[object]:
    """The numbers as a client would print them: the shortest text that is the same FP32, not its 17 digits in FP64."""
    if array.ndim > 1:
        return [_short(part) for part in array]
    return [float(str(number)) for number in array]
