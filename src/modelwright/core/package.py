"""The package: a directory of regular files under a manifest of SHA-256 digests, whose digest is its identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelwright.core.content import Content, sha256, whole
from modelwright.core.errors import CorruptError, NotFoundError
from modelwright.core.graph import Graph
from modelwright.core.kernels import KernelChoice
from modelwright.core.native import Native
from modelwright.core.signature import Reference, Signature

FORMAT = "modelwright-package"
FORMAT_VERSION = 1


def canonical_json(value: object) -> bytes:
    """The one byte form of a JSON value that digests are taken of: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


@dataclass(frozen=True, slots=True)
class FileEntry:
    """Digest (hex SHA-256) and size in bytes of one file of a package."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """Names (flat or ``dir/file``, never absolute or with ``..``) to digests."""

    name: str
    files: Mapping[str, FileEntry]
    format: str = FORMAT
    format_version: int = FORMAT_VERSION

    def to_json(self) -> dict[str, Any]:
        """The JSON form whose canonical bytes are digested."""
        return {
            "format": self.format,
            "format_version": self.format_version,
            "name": self.name,
            "files": {name: {"sha256": e.sha256, "size": e.size} for name, e in sorted(self.files.items())},
        }

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the canonical manifest: the package's identity."""
        return hashlib.sha256(canonical_json(self.to_json())).hexdigest()


@dataclass(frozen=True, slots=True)
class Adversarial:
    """What came of rows made from the signature: bounds and beyond, missing values, unseen levels, absurd numbers.

    ``rows`` were answered by the original, ``refused`` it refused; ``differing`` of the rows do not agree. ``holds``:
    none of those that may really come is among them. ``worst`` are a few of the differing ones: ``row`` (what was
    changed), ``input``, ``value``, ``binds`` (it may really come), ``difference``, ``original``, ``converted``.
    """

    rows: int
    refused: int
    differing: int
    max_difference: float
    mean_difference: float
    label_flips: int
    holds: bool
    worst: tuple[dict[str, object], ...] = ()

    @property
    def words(self) -> str:
        """For a person, in a line."""
        rows = "1 row" if self.rows == 1 else f"{self.rows} rows"
        refused = f", {self.refused} more the original itself refuses" if self.refused else ""
        return f"{rows} made from the signature: {self.rows - self.differing} agree{refused}"


@dataclass(frozen=True, slots=True)
class Parity:
    """The certificate: original against converted on the examples.

    ``holds`` is the verdict under ``tolerance`` (largest allowed absolute difference of a probability, or of a value
    relative to max(1, |value|)); ``worst_row`` indexes the examples; ``label_flips`` counts rows whose label differs.
    ``adversarial`` is about rows beyond the examples; None in packages that were made without any.
    """

    rows: int
    max_difference: float
    mean_difference: float
    worst_row: int
    label_flips: int
    tolerance: float
    holds: bool
    numeric_type: str
    tried: tuple[dict[str, object], ...] = ()
    adversarial: Adversarial | None = None


@dataclass(frozen=True, slots=True)
class Golden:
    """A few rows with the answers the package must reproduce; tensors as nested lists under their names.

    The last ``adversarial`` of the ``rows`` are no examples: they were made from the signature.
    """

    inputs: dict[str, list[Any]]
    outputs: dict[str, list[Any]]
    rows: int
    adversarial: int = 0

    @property
    def examples(self) -> Golden:
        """The rows that are examples alone."""
        rows = self.rows - self.adversarial
        inputs, outputs = (
            {name: values[:rows] for name, values in held.items()} for held in (self.inputs, self.outputs)
        )
        return Golden(inputs, outputs, rows)


@dataclass(frozen=True, slots=True)
class Description:
    """What ``package.json`` holds besides the other records.

    ``row_independent`` declares that row i of every output depends on row i of the inputs alone, so that requests may
    run together.
    """

    name: str
    framework: str
    framework_version: str
    model_class: str
    route: str
    created_at: str
    python: str
    source_sha256: str = ""
    data_digest: str = ""
    code_revision: str = ""
    row_independent: bool = False
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Package:
    """A verified package held by reference: ``read(name)`` gives bytes that match the manifest or raises.

    ``content(name)`` does so without holding a large file in memory. ``open_file`` is where the bytes come from (a
    directory, a blob store); it is not part of the identity. Nor is ``bundle``, the content of ``model.sig`` where the
    package was signed: it is read and not checked.
    """

    manifest: Manifest
    description: Description
    signature: Signature
    golden: Golden | None
    reference: Reference | None
    parity: Parity | None
    open_file: Callable[[str], Content] = field(compare=False, repr=False)
    native: Native | None = None
    graph: Graph | None = None
    bundle: bytes | None = field(default=None, compare=False, repr=False)
    kernels: KernelChoice | None = None

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest.name

    @property
    def digest(self) -> str:
        """The package's identity."""
        return self.manifest.digest

    def read(self, name: str) -> bytes:
        """Bytes of one file, verified against the manifest; raises as :meth:`content`."""
        return whole(self.content(name))

    def content(self, name: str) -> Content:
        """One file, verified against the manifest: a large one as an open file that cannot change any more.

        Raises:
            NotFoundError: the manifest has no such file.
            CorruptError: the bytes do not match their digest.
        """
        entry = self.manifest.files.get(name)
        if entry is None:
            raise NotFoundError("package.no-such-file", f"Package {self.name} has no file {name!r}.")
        content = self.open_file(name)
        if len(content) != entry.size or sha256(content) != entry.sha256:
            raise CorruptError(
                "package.corrupt",
                f"File {name!r} of package {self.name} does not match its digest.",
                why="The bytes were changed or damaged after packing.",
                fix="Restore the file from a backup or pack the model again.",
            )
        return content
