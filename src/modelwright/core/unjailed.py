"""Which models of a package ask to run their code without a jail."""

from __future__ import annotations

from modelwright.core.package import Package
from modelwright.core.package_codec import open_member


def unjailed(package: Package) -> tuple[str, ...]:
    """Names of the models whose isolation is ``off``: the package itself, or nodes (``outer/inner``) of its graph.

    Raises:
        CorruptError: the bytes of a model in a graph do not match.
    """
    if package.graph is None:
        return (package.name,) if package.native is not None and package.native.isolation == "off" else ()
    found: list[str] = []
    for node, _ in package.graph.models:
        member = open_member(package, node)
        inner = unjailed(member)
        found += [f"{node}/{name}" for name in inner] if member.graph is not None else [node] * len(inner)
    return tuple(found)
