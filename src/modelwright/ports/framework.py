"""Turning a trained model of some framework into an ONNX graph, with the original's own answers beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from modelwright.core.graph import Graph
from modelwright.core.package import Parity
from modelwright.core.signature import Signature
from modelwright.core.table import Table


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a framework gives back for one model.

    ``onnx`` is the serialized graph; ``inputs`` are the examples as the graph's feeds and ``outputs`` the *converted*
    graph's answers to them; ``parity`` compares those with the original model's own. ``environment`` lists the
    distributions the model came from as {"name", "version", "record_sha256"}. ``row_independent``: see
    :class:`~modelwright.core.package.Description`. Of several models that answer as one, ``onnx`` is empty, ``graph``
    says how, and ``files`` (name in the package to content) are their packages.
    """

    onnx: bytes
    signature: Signature
    parity: Parity | None
    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]
    framework: str
    framework_version: str
    model_class: str
    environment: tuple[dict[str, str], ...] = ()
    notes: dict[str, str] = field(default_factory=dict)
    row_independent: bool = False
    files: Mapping[str, bytes] = field(default_factory=dict)
    graph: Graph | None = None


class Framework(Protocol):
    """A framework adapter: a name, and how it converts."""

    name: str

    def owns(self, model: object) -> bool:
        """True when this adapter converts such an object or such a file (``Path``). Never opens code-bearing files."""
        ...

    def convert(self, model: object | Path, examples: Table | None, *, target: str = "") -> Conversion:
        """Convert, and certify on the examples.

        Args:
            model: the fitted object, or the path of a file this adapter owns.
            examples: feature rows (without the target); None where the file carries its own signature (ONNX).
            target: name of the target, kept in the signature.

        Raises:
            BadInputError: not fitted, no examples where needed, unsupported columns.
            RefusedError: ``pack.unconvertible`` (names the part that has no converter).
        """
        ...
