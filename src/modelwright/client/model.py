"""What a server says about a model: its tensors, and where it tells them, its columns and classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from modelwright.core.signature import DATATYPES, Feature, Signature, Task, TensorSpec

COLUMNS = "modelwright_columns"
"""The property of a model's metadata that tells its columns, as JSON."""


class _Tensor(msgspec.Struct):
    name: str
    datatype: str
    shape: tuple[int, ...]


class _Metadata(msgspec.Struct):
    name: str
    inputs: list[_Tensor]
    outputs: list[_Tensor]
    versions: list[str] | None = None
    platform: str = ""
    properties: dict[str, str] | None = None


class _Feature(msgspec.Struct):
    name: str
    kind: Literal["number", "boolean", "category"]
    nullable: bool = False
    null_as: str | None = None


class _Columns(msgspec.Struct):
    features: list[_Feature] = []
    inputs: dict[str, tuple[str, ...]] = {}
    task: Task = "none"
    classes: tuple[str, ...] = ()
    label_output: str = ""
    score_output: str = ""
    target: str = ""


_metadata = msgspec.json.Decoder(_Metadata)
_columns = msgspec.json.Decoder(_Columns)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as its server describes it.

    ``versions`` are those that may answer (empty: the server names none); ``binary`` tells whether the server takes
    and gives tensors in binary. A signature from a server that tells no columns has tensors only.
    """

    name: str
    versions: tuple[str, ...]
    platform: str
    signature: Signature
    binary: bool

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The tensors it takes."""
        return self.signature.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The tensors it gives."""
        return self.signature.outputs

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of rows for it, in order."""
        return tuple(name for spec in self.signature.inputs for name in (spec.features or (spec.name,)))


def served_model(body: bytes, *, binary: bool) -> ServedModel:
    """The model of a metadata answer.

    Raises:
        msgspec.MsgspecError: the answer is none of the protocol.
    """
    said = _metadata.decode(body)
    told = (said.properties or {}).get(COLUMNS)
    columns = _columns.decode(told) if told else _Columns()
    signature = Signature(
        inputs=tuple(_spec(one, columns.inputs.get(one.name, ())) for one in said.inputs),
        outputs=tuple(_spec(one, ()) for one in said.outputs),
        features=tuple(Feature(one.name, one.kind, one.nullable, null_as=one.null_as) for one in columns.features),
        task=columns.task,
        classes=columns.classes,
        label_output=columns.label_output,
        score_output=columns.score_output,
        target=columns.target,
    )
    return ServedModel(said.name, tuple(said.versions or ()), said.platform, signature, binary)


def dtype_of(datatype: str) -> np.dtype[np.generic] | None:
    """The NumPy dtype of a datatype; None where NumPy has none (BF16)."""
    return DATATYPES.get("BYTES" if datatype == "STRING" else datatype)


def _spec(tensor: _Tensor, features: tuple[str, ...]) -> TensorSpec:
    return TensorSpec(tensor.name, tensor.datatype, tensor.shape, features)
