"""Turning a trained model of some framework into what a package holds: an ONNX graph, or a model that runs as code."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from modelwright.core.content import Content
from modelwright.core.errors import BadInputError
from modelwright.core.graph import Graph
from modelwright.core.kernels import KernelChoice
from modelwright.core.native import Isolation, Native
from modelwright.core.package import Parity
from modelwright.core.signature import Signature
from modelwright.core.table import Table

Route = Literal["auto", "onnx", "native"]
"""How a model is to run: converted to ONNX, as code in a jailed process, or as code only where it does not convert."""


@dataclass(frozen=True, slots=True)
class Hints:
    """What some frameworks need besides rows.

    ``tensors`` are examples by input name, each [n, ...], of a model whose input is no table; ``options`` are the
    framework's own, by name (``--option NAME=VALUE``). ``site`` is the folder of libraries that a model which runs as
    code was made with, where they are not those of this process.
    """

    tensors: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    site: Path | None = None

    def require_known(self, framework: str, options: Collection[str] = (), *, tensors: bool = False) -> None:
        """Refuse what the framework does not take.

        Raises:
            BadInputError: ``pack.unknown-option``, ``pack.no-table``.
        """
        unknown = sorted(set(self.options) - set(options))
        if unknown:
            raise BadInputError(
                "pack.unknown-option",
                f"The framework {framework} has no option {unknown[0]!r}.",
                why=f"It has: {', '.join(sorted(options)) or 'none'}.",
                fix="Leave it out, or see docs/reference/frameworks.md.",
            )
        if self.tensors and not tensors:
            raise BadInputError(
                "pack.no-table",
                f"The framework {framework} takes its examples as a table.",
                why="A file of arrays was given.",
                fix="Give rows with named columns: .parquet, .csv or .jsonl.",
            )


NO_HINTS = Hints()


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a framework gives back for one model.

    ``onnx`` is the serialized graph, with the tensors that it keeps outside itself in ``files`` (name in the package to
    content); it is empty where ``native`` says how the model runs instead, from ``files``. ``inputs`` are the examples
    as its feeds and ``outputs`` the *packed* model's answers to them; ``parity`` compares those with the original
    model's own. ``environment`` lists the distributions the model came from as {"name", "version", "record_sha256"}.
    ``notes["route"]`` says why it runs as it does. ``row_independent``: see
    :class:`~modelwright.core.package.Description`. Of several models that answer as one, ``graph`` says how, and
    ``files`` are their packages. ``kernels`` is what was measured to run ``onnx`` fastest. ``beyond_inputs`` and
    ``beyond_outputs`` are feeds made from the signature, and the packed model's answers to them.
    """

    onnx: Content
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
    files: Mapping[str, Content] = field(default_factory=dict)
    graph: Graph | None = None
    kernels: KernelChoice | None = None
    beyond_inputs: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    beyond_outputs: Mapping[str, NDArray[Any]] = field(default_factory=dict)


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
        hints: Hints = NO_HINTS,
    ) -> Conversion:
        """Convert, and certify on the examples.

        Args:
            model: the fitted object, or the path of a file this adapter owns.
            examples: feature rows (without the target); None where the file carries its own signature (ONNX).
            target: name of the target, kept in the signature.
            route: how it is to run.
            isolation: the jail that it needs at least, here and in service, where it runs as code.
            hints: what this framework needs besides.

        Raises:
            BadInputError: not fitted, no examples where needed, unsupported columns.
            RefusedError: ``pack.unconvertible`` (names the part that has no converter, or why there is no such route).
        """
        ...
