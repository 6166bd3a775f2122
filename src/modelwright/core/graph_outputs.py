"""What each node of a graph gives, from the signatures of its models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from modelwright.core.errors import BadInputError
from modelwright.core.graph import Ensemble, Graph, GraphError
from modelwright.core.signature import DATATYPES, Signature, TensorSpec

_NAMES = {dtype: name for name, dtype in DATATYPES.items()}
VOTES = "votes"


def gives(graph: Graph, signatures: Mapping[str, Signature]) -> dict[str, Signature]:
    """A signature without inputs for every node: outputs, task, classes, and which output is what.

    Args:
        graph: of sound structure.
        signatures: of the nodes that are models.

    Raises:
        BadInputError: ``graph.type-mismatch``, ``graph.missing-output``, naming the two nodes.
    """
    found: dict[str, Signature] = {}

    def of(name: str) -> Signature:
        if name not in found:
            found[name] = _of_node(graph, name, signatures, [(one, of(one)) for one in graph.nodes[name].below])
        return found[name]

    for name in graph.nodes:
        of(name)
    return found


def _of_node(
    graph: Graph, name: str, signatures: Mapping[str, Signature], below: Sequence[tuple[str, Signature]]
) -> Signature:
    node = graph.nodes[name]
    if node.model is not None:
        return replace(signatures[name], inputs=(), features=())
    if node.ensemble is not None:
        return _of_ensemble(name, node.ensemble, below)
    if node.switch is not None or node.fallback is not None:
        return _of_branches(name, below)
    return below[-1][1]  # the last step, the final model


def promoted(first: TensorSpec, second: TensorSpec) -> TensorSpec | None:
    """A tensor that holds both: the wider number, the sizes they share; None where there is none."""
    if len(first.shape) != len(second.shape):
        return None
    one, other = DATATYPES[first.datatype], DATATYPES[second.datatype]
    if one == other:
        datatype = first.datatype
    elif object in (one, other) or np.bool_ in (one, other):
        return None
    else:
        datatype = _NAMES.get(np.promote_types(one, other), "")
    sizes = tuple(
        a if a == b else max(a, b) if -1 in (a, b) else -2 for a, b in zip(first.shape, second.shape, strict=True)
    )
    return None if not datatype or -2 in sizes else replace(first, datatype=datatype, shape=sizes)


def _of_branches(name: str, below: Sequence[tuple[str, Signature]]) -> Signature:
    """What the first branch gives, and all others give as well."""
    (first, wanted), outputs = below[0], list(below[0][1].outputs)
    for other, given in below[1:]:
        _same_meaning(name, (first, wanted), (other, given))
        for index, spec in enumerate(outputs):
            theirs = given.output(spec.name)
            if theirs is None:
                raise GraphError(
                    "graph.missing-output",
                    f"Node {other!r} gives no output {spec.name!r}, as {first!r} does",
                    place=f"nodes.{name}",
                    why=f"It gives {', '.join(one.name for one in given.outputs)}; any of the two may answer.",
                )
            outputs[index] = _merged(name, (first, spec), (other, theirs))
    return replace(wanted, outputs=tuple(outputs))


def _of_ensemble(name: str, ensemble: Ensemble, below: Sequence[tuple[str, Signature]]) -> Signature:
    (first, wanted) = below[0]
    for other, given in below[1:]:
        _same_meaning(name, (first, wanted), (other, given))
    if ensemble.method == "vote":
        return _of_vote(name, below)
    if wanted.classes and wanted.score_output:
        scores = _merged_all(name, [(one, _needed(name, one, given, given.score_output)) for one, given in below])
        label = wanted.output(wanted.label_output)
        return replace(wanted, outputs=(*((label,) if label is not None else ()), scores))
    outputs = []
    for spec in wanted.outputs:
        if DATATYPES[spec.datatype].kind not in "iuf":
            raise GraphError(
                "graph.type-mismatch",
                f"Output {spec.name!r} of {first!r} is {spec.datatype}, which has no mean",
                place=f"nodes.{name}",
                fix="Use `method: vote` for labels.",
            )
        each = [(one, _needed(name, one, given, spec.name)) for one, given in below]
        mean = _merged_all(name, each)
        outputs.append(mean if DATATYPES[mean.datatype].kind == "f" else replace(mean, datatype="FP64"))
    return replace(wanted, outputs=tuple(outputs))


def _of_vote(name: str, below: Sequence[tuple[str, Signature]]) -> Signature:
    for member, given in below:
        if not given.classes or not given.label_output:
            raise GraphError(
                "graph.type-mismatch",
                f"Node {member!r} gives no label to vote with",
                place=f"nodes.{name}",
                why=f"Its task is {given.task}.",
                fix="Vote with classifiers; numbers have a mean.",
            )
    wanted = below[0][1]
    label = _needed(name, below[0][0], wanted, wanted.label_output)
    votes = TensorSpec(VOTES, "FP64", (label.shape[0], len(wanted.classes)))
    return replace(wanted, outputs=(label, votes), score_output=VOTES)


def _needed(name: str, member: str, given: Signature, output: str) -> TensorSpec:
    spec = given.output(output)
    if spec is None:
        raise GraphError(
            "graph.missing-output",
            f"Node {member!r} gives no output {output or 'of scores'!r}",
            place=f"nodes.{name}",
            why=f"It gives {', '.join(one.name for one in given.outputs)}.",
        )
    return spec


def _merged_all(name: str, each: Sequence[tuple[str, TensorSpec]]) -> TensorSpec:
    held, spec = each[0]
    for other, theirs in each[1:]:
        spec = _merged(name, (held, spec), (other, theirs))
    return spec


def _merged(name: str, first: tuple[str, TensorSpec], second: tuple[str, TensorSpec]) -> TensorSpec:
    merged = promoted(first[1], second[1])
    if merged is None:
        raise mismatch(f"nodes.{name}", first, second)
    return merged


def mismatch(place: str, first: tuple[str, TensorSpec], second: tuple[str, TensorSpec]) -> BadInputError:
    """The error that names the two ends."""
    (one, spec), (other, theirs) = first, second
    return GraphError(
        "graph.type-mismatch",
        f"{one}.{spec.name} and {other}.{theirs.name} do not fit together",
        place=place,
        why=f"{one}.{spec.name} is {described(spec)}, {other}.{theirs.name} is {described(theirs)}.",
    )


def described(spec: TensorSpec) -> str:
    """Datatype and shape."""
    return f"{spec.datatype} {list(spec.shape)}"


def _same_meaning(name: str, first: tuple[str, Signature], second: tuple[str, Signature]) -> None:
    (one, wanted), (other, given) = first, second
    for what, ours, theirs in (("task", wanted.task, given.task), ("classes", wanted.classes, given.classes)):
        if ours != theirs:
            raise GraphError(
                "graph.type-mismatch",
                f"The {what} of {one!r} and {other!r} differ",
                place=f"nodes.{name}",
                why=f"{one}: {_shown(ours)}; {other}: {_shown(theirs)}.",
            )


def _shown(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value) or "none"
