"""Turning a trained model of some framework into what a package holds: an ONNX graph, or a model that runs as code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from modelwright.core.graph import Graph
from modelwright.core.native import Isolation, Native
from modelwright.core.package import Parity
from modelwright.core.signature import Signature
from modelwright.core.table import Table

Route = Literal["auto", "onnx", "native"]
"""How a model is to run: converted to ONNX, as code in a jailed process, or as code only where it does not convert."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a framework gives back for one model.

    ``onnx`` is the serialized graph, empty where ``native`` says how the model runs instead, from ``files`` (name in
    the package to content). ``inputs`` are the examples as its feeds and ``outputs`` the *packed* model's answers to
    them; ``parity`` compares those with the original model's own. ``environment`` lists the distributions the model
    came from as {"name", "version", "record_sha256"}. ``notes["route"]`` says why it runs as it does.
    ``row_independent``: see :class:`~modelwright.core.package.Description`. Of several
    models that answer as one, ``graph`` says how, and ``files`` are their packages.
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
    native: Native | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    graph: Graph | None = None


class Framework(Protocol):
    """A framework adapter: a name, and how it converts."""

    name: str

    def owns(self, model: object) -> bool:
        """True when this adapter converts such an object or such a file (``Path``). Never opens code-bearing files."""
        ...

    def convert(
        self,
        model: object | Path,
        examples: Table | None,
        *,
        target: str = "",
        route: Route = "auto",
        isolation: Isolation = "strict",
    ) -> Conversion:
        """Convert, and certify on the examples.

        Args:
            model: the fitted object, or the path of a file this adapter owns.
            examples: feature rows (without the target); None where the file carries its own signature (ONNX).
            target: name of the target, kept in the signature.
            route: how it is to run.
            isolation: the jail that it needs at least, here and in service, where it runs as code.

        Raises:
            BadInputError: not fitted, no examples where needed, unsupported columns.
            RefusedError: ``pack.unconvertible`` (names the part that has no converter, or why there is no such route).
        """
        ...
