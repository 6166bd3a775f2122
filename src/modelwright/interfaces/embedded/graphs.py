"""``modelwright.pack_graph``."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelwright.core.graph import GraphError
from modelwright.core.names import require_model_name
from modelwright.core.signature import InputPolicy
from modelwright.interfaces.embedded.packing import PackedModel, pack
from modelwright.pack import Evidence


def pack_graph(
    graph: str | Path | Mapping[str, Any],
    *,
    name: str,
    examples: Any = None,
    labels: Any = None,
    reference: Any = None,
    target: str = "target",
    evidence: Evidence | None = None,
    policy: InputPolicy | None = None,
) -> PackedModel:
    """Turn several models that answer as one into a package.

    Args:
        graph: the path of a ``.graph.yaml`` file; the path of a project file, whose graph ``name`` is taken
            (``modelwright.yaml#other`` for another); or the nodes by name, as they stand in such a file, where a node
            that is a model may be a packed model: ``{"a": mw.pack(...), "b": {"package": "b.mw"},
            "both": {"ensemble": ["a", "b"]}}``.
        name: the graph's name as a model: ``a-z``, ``0-9``, ``.``, ``_``, ``-``.
        examples: as for :func:`modelwright.pack`, as are the arguments after it.
        labels: ground truth of the examples, one value per row.
        reference: feature rows of the training data.
        target: name of what is predicted.
        evidence: what the model card should say besides.
        policy: what becomes of values that the models have not seen.

    Raises:
        BadInputError: ``graph.*``, with the place in the declaration; a package that is not there; unusable rows.
    """
    given: dict[str, Any] = {"examples": examples, "labels": labels, "reference": reference}
    given |= {"target": target, "evidence": evidence, "policy": policy}
    if isinstance(graph, str | Path):
        path = Path(graph)
        if path.suffix == ".yaml" and not path.name.endswith(".graph.yaml"):
            path = path.with_name(f"{path.name}#{name}")
        return pack(path, name=name, **given)
    require_model_name(name)
    with tempfile.TemporaryDirectory(prefix="modelwright-") as folder:
        nodes = {str(node): _node(str(node), declared, Path(folder)) for node, declared in graph.items()}
        file = Path(folder) / f"{name}.graph.yaml"
        file.write_text(json.dumps({"nodes": nodes}), encoding="utf-8")  # JSON is YAML
        return pack(file, name=name, **given)


def _node(name: str, declared: object, folder: Path) -> dict[str, Any]:
    """The node as it stands in a file; the packages of packed models are written beside it."""
    if isinstance(declared, PackedModel):
        place = folder / f"{len(list(folder.iterdir()))}-{declared.name}"
        place.mkdir()
        return {"package": str(declared.save(place / f"{declared.name}.mw"))}
    if not isinstance(declared, Mapping):
        raise GraphError(
            "graph.invalid",
            f"Node {name!r} is of type {type(declared).__name__}",
            place=f"nodes.{name}",
            fix="Give a packed model, or a dictionary such as {'ensemble': ['a', 'b']}.",
        )
    node = dict(declared)
    if isinstance(node.get("package"), PackedModel):
        return node | _node(name, node["package"], folder)
    if isinstance(node.get("package"), str | Path):
        node["package"] = str(Path(node["package"]).absolute())
    return node
