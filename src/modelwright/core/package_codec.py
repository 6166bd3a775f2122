"""Package <-> bytes: the records of a package as canonical JSON files under a manifest, read back strictly.

A package holds ``package.json`` (description), ``signature.json``, and where known ``golden.json``,
``reference.json``, ``parity.json``, ``native.json``, ``graph.json``, ``kernels.json``, beside whatever else the
manifest lists.
``manifest.json`` itself is in no manifest: its canonical bytes *are* the identity. Nor is ``model.sig``, the signature
of the whole (:mod:`modelwright.signing`), which comes and goes without another identity.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from modelwright.core.content import Content, sha256, whole
from modelwright.core.errors import BadInputError, CorruptError, InternalError
from modelwright.core.graph import GRAPH_ROUTE, MEMBERS, Graph
from modelwright.core.graph_structure import check_structure
from modelwright.core.kernels import KernelChoice
from modelwright.core.names import require_model_name
from modelwright.core.native import NATIVE_ROUTE, Native
from modelwright.core.package import (
    FORMAT,
    FORMAT_VERSION,
    Description,
    FileEntry,
    Golden,
    Manifest,
    Package,
    Parity,
    canonical_json,
)
from modelwright.core.record_codec import from_json, malformed, parse_json, to_json
from modelwright.core.signature import DATATYPES, Reference, Signature, TensorSpec

MANIFEST = "manifest.json"
DESCRIPTION = "package.json"
SIGNATURE = "signature.json"
GOLDEN = "golden.json"
REFERENCE = "reference.json"
PARITY = "parity.json"
NATIVE = "native.json"
GRAPH = "graph.json"
KERNELS = "kernels.json"
ENVIRONMENT = "environment.json"
REQUIREMENTS = "requirements.txt"
CARD = "card.md"
MLMODEL = "MLmodel"
CONDA = "conda.yaml"
PYTHON_ENVIRONMENT = "python_env.yaml"
INPUT_EXAMPLE = "input_example.json"
MODEL = "model.onnx"
BUNDLE = "model.sig"
BOM = "bom.cdx.json"
WEIGHTS = "model.onnx.data"
"""Tensors of ``model.onnx`` that are kept beside it: ONNX's external data."""

MAX_FILES = 10_000
MAX_DEPTH = 10  # a graph's models are packages below it, and may be graphs
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_DRIVE = re.compile(r"[A-Za-z]:")

Rec = TypeVar("Rec")


def is_safe_file_name(name: str) -> bool:
    """True for a relative, forward-slash name without ``.``/``..`` parts, at most ten levels deep."""
    if not name or len(name) > 255 or "\\" in name or _DRIVE.match(name):
        return False
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        return False
    parts = name.split("/")
    return len(parts) <= MAX_DEPTH and all(part not in {"", ".", ".."} for part in parts)


def record_bytes(record: object) -> bytes:
    """The file content of any record of a package."""
    return canonical_json(to_json(record))


def description_json(description: Description) -> bytes:
    """``package.json``."""
    return record_bytes(description)


def signature_json(signature: Signature) -> bytes:
    """``signature.json``."""
    return record_bytes(signature)


def golden_json(golden: Golden) -> bytes:
    """``golden.json``; NaN is stored as null."""
    return record_bytes(golden)


def reference_json(reference: Reference) -> bytes:
    """``reference.json``."""
    return record_bytes(reference)


def parity_json(parity: Parity) -> bytes:
    """``parity.json``."""
    return record_bytes(parity)


def native_json(native: Native) -> bytes:
    """``native.json``."""
    return record_bytes(native)


def graph_json(graph: Graph) -> bytes:
    """``graph.json``."""
    return record_bytes(graph)


def kernels_json(choice: KernelChoice) -> bytes:
    """``kernels.json``."""
    return record_bytes(choice)


def description_from_json(content: bytes) -> Description:
    """The description. Raises CorruptError (``package.malformed``), as every reader here."""
    return _record(Description, content, DESCRIPTION)


def signature_from_json(content: bytes) -> Signature:
    """The signature, with its own rules checked: known datatypes, unique names, outputs that exist."""
    signature = _record(Signature, content, SIGNATURE)
    _check_signature(signature)
    return signature


def golden_from_json(content: bytes) -> Golden:
    """The golden examples."""
    return _record(Golden, content, GOLDEN)


def reference_from_json(content: bytes) -> Reference:
    """The reference profile."""
    return _record(Reference, content, REFERENCE)


def parity_from_json(content: bytes) -> Parity:
    """The parity certificate."""
    return _record(Parity, content, PARITY)


def native_from_json(content: bytes) -> Native:
    """How a native model is opened."""
    return _record(Native, content, NATIVE)


def graph_from_json(content: bytes) -> Graph:
    """The graph, of sound structure."""
    graph = _record(Graph, content, GRAPH)
    try:
        check_structure(graph)
    except BadInputError as error:
        raise malformed(GRAPH, error.what) from error
    return graph


def kernels_from_json(content: bytes) -> KernelChoice:
    """What runs the graph fastest; a choice of trees says from how many rows on."""
    choice = _record(KernelChoice, content, KERNELS)
    if (choice.chosen == "trees") != (choice.from_rows > 0):
        raise malformed(KERNELS, f"{choice.chosen} from {choice.from_rows} rows on is no choice")
    return choice


def environment_from_json(content: bytes) -> tuple[dict[str, str], ...]:
    """The environment lock: {"name", "version", "record_sha256"} of each distribution."""
    decoded: tuple[dict[str, str], ...] = from_json(
        tuple[dict[str, str], ...], parse_json(content, ENVIRONMENT), ENVIRONMENT
    )
    return decoded


def golden_tensors(specs: Sequence[TensorSpec], values: Mapping[str, list[Any]]) -> dict[str, NDArray[Any]]:
    """Golden values as arrays of their tensors' datatypes ([rows, ...]); null is NaN again in a float tensor.

    Raises:
        CorruptError: ``package.malformed`` when values do not fit their datatype.
    """
    tensors: dict[str, NDArray[Any]] = {}
    for spec in specs:
        if spec.name not in values:
            continue
        try:
            tensors[spec.name] = np.array(values[spec.name], dtype=DATATYPES[spec.datatype])
        except (ValueError, TypeError, OverflowError) as error:
            raise malformed(f"{GOLDEN}.{spec.name}", f"its values are not {spec.datatype}") from error
    return tensors


def manifest_from_json(content: bytes) -> Manifest:
    """The manifest.

    Raises:
        CorruptError: ``package.malformed`` or ``package.unknown-format-version``.
    """
    value = parse_json(content, MANIFEST)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise malformed(MANIFEST, f"it is not a {FORMAT}")
    version = value.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise CorruptError(
            "package.unknown-format-version",
            f"The package has format version {version!r}.",
            why=f"This release reads version {FORMAT_VERSION}.",
            fix="Install the release of modelwright that wrote the package, or pack the model again.",
        )
    manifest = _record(Manifest, content, MANIFEST)
    try:
        require_model_name(manifest.name)
    except BadInputError as error:
        raise malformed(MANIFEST, f"{manifest.name[:80]!r} is not a model name") from error
    if len(manifest.files) > MAX_FILES:
        raise malformed(MANIFEST, f"it lists more than {MAX_FILES} files")
    for name, entry in manifest.files.items():
        if name in {MANIFEST, BUNDLE} or not is_safe_file_name(name):
            raise malformed(MANIFEST, f"{name!r} is not a file name of a package")
        if not _DIGEST.match(entry.sha256) or entry.size < 0:
            raise malformed(MANIFEST, f"the entry of {name!r} has no valid digest and size")
    return manifest


def assemble(name: str, files: Mapping[str, Content]) -> Package:
    """A package over files in memory: makes the manifest and reads the records back through it.

    Raises:
        BadInputError: ``register.bad-name``.
        CorruptError: ``package.malformed`` when a record among the files does not decode.
    """
    held = dict(files)
    entries = {path: FileEntry(sha256(content), len(content)) for path, content in sorted(held.items())}
    require_model_name(name)
    manifest = Manifest(name, entries)
    # Through the reader's own rules, so that nothing can be written that cannot be read.
    return _over(manifest_from_json(canonical_json(manifest.to_json())), held.__getitem__)


def open_from(read: Callable[[str], Content]) -> Package:
    """A package over a place that gives bytes by file name; each record is verified against the manifest.

    Raises:
        CorruptError: ``package.malformed``, ``package.unknown-format-version``, ``package.corrupt``.
    """
    return _over(manifest_from_json(whole(read(MANIFEST))), read)


def store(package: Package, put: Callable[[Content], str]) -> str:
    """Put every file and then the canonical manifest into a blob store; returns the package's digest.

    The manifest comes last: whoever finds it finds everything it names.
    """
    for name, entry in sorted(package.manifest.files.items()):
        if put(package.content(name)) != entry.sha256:
            raise InternalError("package.store-disagrees", f"The store gave another digest for {name!r}.")
    digest = put(canonical_json(package.manifest.to_json()))
    if digest != package.digest:
        raise InternalError("package.store-disagrees", "The store gave another digest for the manifest.")
    return digest


def load(digest: str, get: Callable[[str], Content]) -> Package:
    """The package of that digest from a blob store.

    Raises:
        NotFoundError: from ``get``, when the store has no such blob.
        CorruptError: ``package.corrupt`` when the manifest's bytes are not those of the digest, and as `open_from`.
    """
    content = whole(get(digest))
    manifest = manifest_from_json(content)
    if hashlib.sha256(content).hexdigest() != digest or manifest.digest != digest:
        raise CorruptError(
            "package.corrupt",
            f"The manifest stored under {digest[:12]} does not match its digest.",
            why="The bytes were changed or damaged after packing.",
            fix="Restore the blob from a backup or pack the model again.",
        )
    return _over(manifest, lambda name: get(manifest.files[name].sha256))


def open_member(package: Package, node: str) -> Package:
    """The package of a graph's node, every file of it checked against its own manifest and the graph's.

    Raises:
        CorruptError: ``package.corrupt``, ``package.malformed``: also when it is not the one that the graph names.
    """
    member = open_from(lambda name: package.content(f"{MEMBERS}/{node}/{name}"))
    held = package.graph.nodes[node].model if package.graph is not None else None
    if held is None or held.digest != member.digest:
        raise malformed(GRAPH, f"the package of node {node!r} is not the one that it names")
    return member


def _over(manifest: Manifest, open_file: Callable[[str], Content]) -> Package:
    bare = Package(manifest, _NOTHING, Signature((), ()), None, None, None, open_file)

    def optional(name: str, decode: Callable[[bytes], Rec]) -> Rec | None:
        return decode(bare.read(name)) if name in manifest.files else None

    for name in (DESCRIPTION, SIGNATURE):
        if name not in manifest.files:
            raise malformed(MANIFEST, f"it lists no {name}")
    description, native = description_from_json(bare.read(DESCRIPTION)), optional(NATIVE, native_from_json)
    if (description.route == NATIVE_ROUTE) != (native is not None):
        raise malformed(DESCRIPTION, f"its route is {description.route!r}, which {NATIVE} does not confirm")
    graph = optional(GRAPH, graph_from_json)
    if (description.route == GRAPH_ROUTE) != (graph is not None):
        raise malformed(DESCRIPTION, f"its route is {description.route!r}, which {GRAPH} does not confirm")
    if graph is not None:
        _check_members(graph, manifest)
    if native is not None and native.file not in manifest.files:
        raise malformed(NATIVE, f"the package has no file {native.file[:80]!r}")
    return Package(
        manifest=manifest,
        description=description,
        signature=signature_from_json(bare.read(SIGNATURE)),
        golden=optional(GOLDEN, golden_from_json),
        reference=optional(REFERENCE, reference_from_json),
        parity=optional(PARITY, parity_from_json),
        open_file=open_file,
        native=native,
        graph=graph,
        kernels=optional(KERNELS, kernels_from_json),
    )


def _check_members(graph: Graph, manifest: Manifest) -> None:
    """Each model's manifest is the one of its digest: the graph's identity names its models' identities."""
    for node, member in graph.models:
        entry = manifest.files.get(f"{MEMBERS}/{node}/{MANIFEST}")
        if entry is None or entry.sha256 != member.digest:
            raise malformed(GRAPH, f"the package of node {node!r} is not the one that it names")


_NOTHING = Description("", "", "", "", "", "", "")


def _record(kind: type[Rec], content: bytes, where: str) -> Rec:
    return from_json(kind, parse_json(content, where), where)


def _check_signature(signature: Signature) -> None:
    for role, specs in (("input", signature.inputs), ("output", signature.outputs)):
        names = [spec.name for spec in specs]
        if len(set(names)) != len(names) or not all(names):
            raise malformed(SIGNATURE, f"the {role} names are empty or repeated")
        for spec in specs:
            if spec.datatype not in DATATYPES:
                raise malformed(SIGNATURE, f"{role} {spec.name!r} has unknown datatype {spec.datatype!r}")
            if any(size < -1 for size in spec.shape):
                raise malformed(SIGNATURE, f"{role} {spec.name!r} has a negative size")
    for name in (signature.label_output, signature.score_output):
        if name and signature.output(name) is None:
            raise malformed(SIGNATURE, f"it names an output {name!r} that does not exist")
    if signature.task == "binary" and len(signature.classes) != 2:
        raise malformed(SIGNATURE, "a binary model has two classes")
