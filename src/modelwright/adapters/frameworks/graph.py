"""Packs graphs: a declaration and the packages it names, as one package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from modelwright.adapters.frameworks.graph_file import Declared, Reference, graph_of, is_graph_file, read_graph
from modelwright.core import package_codec as codec
from modelwright.core.content import Content
from modelwright.core.errors import ModelwrightError
from modelwright.core.graph import GRAPH_ROUTE, MEMBERS, Graph, GraphError, Member
from modelwright.core.graph_wires import resolve
from modelwright.core.native import Isolation
from modelwright.core.package import Description, Package, canonical_json
from modelwright.core.signature import Signature
from modelwright.core.table import Table
from modelwright.features.columns import feeds
from modelwright.features.describe import describe_all
from modelwright.ports.framework import NO_HINTS, Conversion, Hints, Route
from modelwright.ports.runner import RunnerLoader

MAX_BYTES = 2 * 2**30


class GraphFramework:
    """Packs ``*.graph.yaml`` files, and the graphs of a project file (``modelwright.yaml#NAME``).

    Args:
        runners: loads the packed graph, to answer the examples.
        open_file: opens a package file.
        registered: a registered model by name and version or alias: its number and package.
    """

    name = GRAPH_ROUTE

    def __init__(
        self,
        runners: RunnerLoader,
        open_file: Callable[[Path], Package],
        registered: Callable[[str, str], tuple[str, Package]],
    ) -> None:
        self._runners, self._open_file, self._registered = runners, open_file, registered

    def owns(self, model: object) -> bool:
        """True for a path of a graph file."""
        return isinstance(model, Path) and is_graph_file(model)

    def convert(
        self,
        model: object | Path,
        examples: Table | None,
        *,
        target: str = "",
        route: Route = "auto",  # noqa: ARG002 - each model keeps the route that it was packed with
        isolation: Isolation = "strict",  # noqa: ARG002 - as above
        hints: Hints = NO_HINTS,
    ) -> Conversion:
        """Fetch the models, fill in and check what feeds what, and answer the examples.

        Without examples the golden rows are those of its models, where one of them takes all that the graph takes.

        Raises:
            BadInputError: ``graph.*`` with the place in the file; examples that lack a column.
        """
        assert isinstance(model, Path)
        hints.require_known(self.name)
        declared = read_graph(model)
        fetched = {name: self._fetch(name, one) for name, one in declared.references.items()}
        graph, signature = _resolved(declared, fetched)
        if target:
            signature = replace(signature, target=target)
        if examples is not None:
            signature = describe_all(signature, [examples])
        packages = {name: package for name, (_, package) in fetched.items()}
        files = _member_files(packages)
        tensors = feeds(signature, examples) if examples is not None else _golden_inputs(graph, signature, packages)
        outputs = self._outputs(graph, signature, files, tensors)
        return Conversion(
            onnx=b"",
            signature=signature,
            parity=None,
            inputs=tensors if outputs else {},
            outputs=outputs,
            framework="graph",
            framework_version="",
            model_class=f"{graph.nodes[graph.answer].kind} of {len(packages)} models",
            environment=_environment(packages.values()),
            row_independent=row_independent(graph, packages),
            files=files,
            graph=graph,
        )

    def _fetch(self, node: str, reference: Reference) -> tuple[str, Package]:
        """How the package is named on record, and the package."""
        try:
            if reference.path is not None:
                return reference.path.name, self._open_file(reference.path)
            number, package = self._registered(reference.model, reference.version)
        except ModelwrightError as error:
            place = f"nodes.{node}"
            what = f"{error.what.removesuffix('.')}, at {place}."
            details = error.details | {"place": place}
            raise type(error)(error.code, what, why=error.why, fix=error.fix, details=details) from error
        alias = "" if reference.version == number else f" ({reference.version})"
        return f"{reference.model} version {number}{alias}", package

    def _outputs(
        self, graph: Graph, signature: Signature, files: Mapping[str, Content], tensors: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """The graph's answers, by what will serve it."""
        described = Description("graph", GRAPH_ROUTE, "", "", GRAPH_ROUTE, "", "")
        records = {
            codec.DESCRIPTION: codec.description_json(described),
            codec.SIGNATURE: codec.signature_json(signature),
            codec.GRAPH: codec.graph_json(graph),
        }
        runner = self._runners.load(codec.assemble("graph", {**files, **records}))
        try:
            return runner.run(tensors) if tensors else {}
        finally:
            runner.close()


def _resolved(declared: Declared, fetched: Mapping[str, tuple[str, Package]]) -> tuple[Graph, Signature]:
    members = {name: Member(package.digest, source) for name, (source, package) in fetched.items()}
    signatures = {name: package.signature for name, (_, package) in fetched.items()}
    return resolve(graph_of(declared, members, signatures), signatures)


def _member_files(packages: Mapping[str, Package]) -> dict[str, Content]:
    """Every file of every package under its node's folder, with its manifest."""
    files: dict[str, Content] = {}
    total = 0
    for node, package in packages.items():
        folder = f"{MEMBERS}/{node}"
        files[f"{folder}/{codec.MANIFEST}"] = canonical_json(package.manifest.to_json())
        for name, entry in package.manifest.files.items():
            total += entry.size
            if total > MAX_BYTES:
                raise GraphError(
                    "graph.too-large",
                    f"The models of a graph hold at most {MAX_BYTES // 2**30} GiB",
                    place=f"nodes.{node}",
                )
            files[f"{folder}/{name}"] = package.content(name)
    return files


def row_independent(graph: Graph, packages: Mapping[str, Package]) -> bool:
    """Rows stand alone where those of every model do; which branch of a fallback answers is decided for a request."""
    return not any(node.fallback for node in graph.nodes.values()) and all(
        package.description.row_independent for package in packages.values()
    )


def _golden_inputs(graph: Graph, signature: Signature, packages: Mapping[str, Package]) -> dict[str, NDArray[Any]]:
    """The golden inputs of the first model that takes all that the graph takes, under the same names."""
    for name, member in graph.models:
        package = packages[name]
        own = {key: wires[0] for key, wires in member.inputs.items() if len(wires) == 1 and not wires[0].node}
        golden = package.golden
        if golden is None or {wire.tensor for wire in own.values()} != {spec.name for spec in signature.inputs}:
            continue
        specs = tuple(
            replace(spec, name=key)
            for key, wire in own.items()
            for spec in signature.inputs
            if spec.name == wire.tensor
        )
        tensors = codec.golden_tensors(specs, golden.examples.inputs)
        return {wire.tensor: tensors[key] for key, wire in own.items()}
    return {}


def _environment(packages: Any) -> tuple[dict[str, str], ...]:
    """The distributions of all models, each once."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for package in packages:
        if codec.ENVIRONMENT in package.manifest.files:
            for row in codec.environment_from_json(package.read(codec.ENVIRONMENT)):
                found.setdefault(tuple(row.values()), row)
    return tuple(found.values())
