"""Packages: opened, saved, signed, made smaller, looked into; from a path, from the registry, from MLflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from modelwright.ports.platform import Platform
from modelwright.settings import Settings

if TYPE_CHECKING:
    from modelwright.adapters.inspection.files import Found
    from modelwright.core.package import Manifest, Package
    from modelwright.ports.blobs import BlobStore
    from modelwright.ports.store import VersionStore


def open_package(path: Path) -> Package:
    """A package from a directory or a one-file archive; its records are verified, no code from it runs."""
    from modelwright.adapters.stores.package_files import open_path  # lazy: see wiring

    return open_path(path)


def save_package(package: Package, path: Path) -> None:
    """Write a package: one file where the name ends in ``.mw`` or ``.zip``, else a directory."""
    from modelwright.adapters.stores.package_files import write_directory, write_zip  # lazy: see wiring

    (write_zip if path.suffix in {".mw", ".zip"} else write_directory)(package, path)


def signer(settings: Settings) -> Callable[[Manifest], bytes] | None:
    """Makes the signature of a package with the key that is set; None where none is."""
    from modelwright.signing.check import sign  # lazy: see wiring

    if not settings.signing_key:
        return None
    return partial(sign, private=Path(settings.signing_key).expanduser(), passphrase=settings.signing_passphrase)


def variants() -> tuple[Callable[..., bytes], tuple[str, ...]]:
    """What makes a variant of a package's graph, and the kinds that it knows."""
    from modelwright.adapters.frameworks.onnx_variants import KINDS, make  # lazy: see wiring

    return make, tuple(KINDS)


def look_into(path: Path) -> Found:
    """What a file that runs code when it is opened would import; nothing of it runs."""
    from modelwright.adapters.inspection.files import look  # lazy: see wiring

    return look(path)


def registered(platform: Platform, model: str, reference: str) -> Package:
    """The package of a registered version."""
    return fetch_version(platform.versions, platform.blobs, model, reference)[1]


def fetch_version(versions: VersionStore, blobs: BlobStore, model: str, reference: str) -> tuple[str, Package]:
    """Number and package of a registered version."""
    from modelwright.core.package_codec import load  # lazy: see wiring

    version = versions.version(model, reference)
    return version.number, load(version.digest, blobs.get)


@contextmanager
def local_model(artifact: str) -> Iterator[str]:
    """The path of a model: as it was given, or of a copy of what MLflow keeps under ``models:/`` or ``runs:/``."""
    from modelwright.adapters.sources.mlflow_models import fetched  # lazy: see wiring

    if not in_mlflow(artifact):
        yield artifact
        return
    with fetched(artifact) as folder:
        yield str(folder)


def in_mlflow(artifact: str) -> bool:
    """True for the name of a model that MLflow keeps, which :func:`local_model` fetches."""
    from modelwright.adapters.sources.mlflow_models import SCHEMES  # lazy: see wiring

    return artifact.startswith(SCHEMES)
