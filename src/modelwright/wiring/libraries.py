"""The libraries that a native package runs with: environments, and the locks that they are built from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from modelwright import settings as settings_module
from modelwright.ports.framework import Conversion
from modelwright.ports.platform import Platform
from modelwright.ports.runner import Place
from modelwright.settings import Settings
from modelwright.wiring.packages import registered

if TYPE_CHECKING:
    from modelwright.adapters.environments.built import Environments
    from modelwright.core.lock import Pin
    from modelwright.core.package import Package

Locking = Callable[[Conversion], Conversion]


def environments(settings: Settings) -> Environments:
    """The environments that native packages run in."""
    from modelwright.adapters.environments.built import Environments  # lazy: see wiring

    return Environments(
        settings.home.absolute() / "environments",
        use=settings.native_environments,
        limit_bytes=settings.environments_bytes,
    )


def place(settings: Settings | None = None) -> Place:
    """Which libraries a native package runs with; without settings those of the environment, read when it is asked."""
    return lambda package: environments(settings or settings_module.load({})).place(package)


def environments_needed(platform: Platform) -> set[str]:
    """Digests of the environments that registered versions ask for, those in graphs too."""
    from modelwright.adapters.environments import built  # lazy: see wiring
    from modelwright.core.package_codec import open_member

    needed = set()
    for model in platform.versions.models():
        for version in platform.versions.versions(model):
            package = registered(platform, model, version.number)
            inner = [open_member(package, name) for name, _ in package.graph.models] if package.graph else []
            needed |= {built.digest_of(lock) for one in (package, *inner) if (lock := built.lock_of(one))}
    return needed


def resolve(requirements: Path, wheelhouse: Path | None) -> tuple[Pin, ...]:
    """A requirements file as a whole lock."""
    from modelwright.adapters.environments import pip  # lazy: see wiring

    return pip.resolve(requirements, wheelhouse=wheelhouse)


def lock_of(package: Package) -> tuple[Pin, ...]:
    """The lock that a package holds."""
    from modelwright.adapters.environments import built  # lazy: see wiring

    return built.lock_of(package)


def locking(requirements: Path | None, locked: Sequence[Pin], *, hashes: bool, wheelhouse: Path | None) -> Locking:
    """What completes the lock of a model that is being packed."""
    from modelwright.adapters.environments import locking as means  # lazy: see wiring

    if requirements is not None:
        return partial(means.declared, locked=locked, file=requirements.name)
    return partial(means.hashed, wheelhouse=wheelhouse) if hashes else lambda conversion: conversion
