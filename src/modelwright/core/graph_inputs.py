"""What a graph takes: the inputs of its models that no other node feeds, merged by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from modelwright.core.graph import GraphError, Switch, Wire
from modelwright.core.graph_outputs import mismatch, promoted
from modelwright.core.signature import Action, Feature, InputPolicy, Signature, TensorSpec

_STRICTEST: tuple[Action, ...] = ("accept", "warn", "coerce", "reject")


@dataclass(frozen=True, slots=True)
class Request:
    """An input of a model that is to come from the graph's own input ``tensor``."""

    node: str
    spec: TensorSpec
    tensor: str

    @property
    def features(self) -> tuple[str, ...]:
        """The columns it carries; none where they have no names."""
        if self.spec.features:
            return self.spec.features
        return (self.tensor,) if self.spec.shape[1:] == (1,) else ()


def merge(requests: Sequence[Request]) -> tuple[tuple[TensorSpec, ...], dict[tuple[str, str], tuple[Wire, ...]]]:
    """The graph's inputs, and where each (node, input of its model) gets them from.

    Models that name their tensors alike share them. Where they do not, but name their features, every feature becomes
    an input of its own, and each model takes the columns that it knows.

    Raises:
        BadInputError: ``graph.type-mismatch``, naming the two nodes.
    """
    by_feature = _apart(requests)
    inputs: dict[str, tuple[str, TensorSpec]] = {}
    wires: dict[tuple[str, str], tuple[Wire, ...]] = {}
    for request in requests:
        if by_feature and request.features:
            specs = [TensorSpec(name, request.spec.datatype, (-1, 1), (name,)) for name in request.features]
        else:
            specs = [replace(request.spec, name=request.tensor)]
        for spec in specs:
            _add(inputs, request.node, spec)
        wires[request.node, request.spec.name] = tuple(Wire(spec.name) for spec in specs)
    return tuple(spec for _, spec in inputs.values()), wires


def _apart(requests: Iterable[Request]) -> bool:
    """True when the same features stand in tensors of different names or sizes."""
    layouts: dict[str, tuple[str, ...]] = {}
    places: dict[str, str] = {}
    for request in requests:
        if layouts.setdefault(request.tensor, request.features) != request.features:
            return True
        for feature in request.features:
            if places.setdefault(feature, request.tensor) != request.tensor:
                return True
    return False


def _add(inputs: dict[str, tuple[str, TensorSpec]], node: str, spec: TensorSpec) -> None:
    if spec.name not in inputs:
        inputs[spec.name] = (node, spec)
        return
    first, held = inputs[spec.name]
    merged = promoted(held, spec)
    if merged is None:
        raise mismatch(f"nodes.{node}", (first, held), (node, spec))
    inputs[spec.name] = (first, merged if held.features else replace(merged, features=spec.features))


def find(inputs: Sequence[TensorSpec], name: str) -> tuple[str, int] | None:
    """Tensor and column of a feature, or of an input of one column; None where there is none."""
    for spec in inputs:
        if name in spec.features:
            return spec.name, spec.features.index(name)
    return next(((spec.name, 0) for spec in inputs if spec.name == name and spec.shape[1:] in ((), (1,))), None)


def switched(node: str, switch: Switch, inputs: Sequence[TensorSpec]) -> tuple[Switch, TensorSpec | None]:
    """The switch with its place in the graph's input, and the input to add where no model takes the feature."""
    place = find(inputs, switch.by)
    if place is not None:
        spec = next(one for one in inputs if one.name == place[0])
        wants_text = any(case.categories for case in switch.cases)
        if wants_text != (spec.datatype == "BYTES") and not all(case.missing for case in switch.cases):
            kind = "text" if wants_text else "numbers"
            raise GraphError(
                "graph.type-mismatch",
                f"The cases of {node!r} are {kind}, input {switch.by!r} is {spec.datatype}",
                place=f"nodes.{node}.switch",
            )
        return replace(switch, tensor=place[0], column=place[1]), None
    text = any(case.categories for case in switch.cases)
    added = TensorSpec(switch.by, "BYTES" if text else "FP64", (-1, 1), (switch.by,))
    return replace(switch, tensor=switch.by, column=0), added


def features(
    inputs: Sequence[TensorSpec], signatures: Mapping[str, Signature], added: Mapping[str, Switch]
) -> tuple[Feature, ...]:
    """What each feature may hold: what any model saw; missing only where every model that takes it allows that.

    Raises:
        BadInputError: ``graph.type-mismatch`` when two models take a feature as different kinds.
    """
    known: dict[str, tuple[str, Feature]] = {}
    for node, signature in signatures.items():
        for feature in signature.features:
            if feature.name not in known:
                known[feature.name] = (node, feature)
                continue
            first, held = known[feature.name]
            if held.kind != feature.kind or held.null_as != feature.null_as:
                raise GraphError(
                    "graph.type-mismatch",
                    f"Feature {feature.name!r} is not the same for {first!r} and {node!r}",
                    place=f"nodes.{node}",
                    why=f"{first}: {_shown(held)}; {node}: {_shown(feature)}.",
                )
            known[feature.name] = (first, _widened(held, feature))
    for name, switch in added.items():
        text = any(case.categories for case in switch.cases)
        known[name] = (
            name,
            Feature(name, "category" if text else "number", nullable=True, null_as="" if text else None),
        )
    wanted = (name for spec in inputs for name in spec.features or (spec.name,))
    return tuple(known[name][1] for name in dict.fromkeys(wanted) if name in known)


def _shown(feature: Feature) -> str:
    return feature.kind if feature.null_as is None else f"{feature.kind}, a missing one as {feature.null_as!r}"


def _widened(first: Feature, second: Feature) -> Feature:
    lows = [one.low for one in (first, second) if one.low is not None]
    highs = [one.high for one in (first, second) if one.high is not None]
    listed = first.categories and second.categories
    levels = tuple(sorted({*first.categories, *second.categories})) if listed else ()
    return replace(
        first,
        nullable=first.nullable and second.nullable,
        low=min(lows, default=None),
        high=max(highs, default=None),
        categories=levels,
    )


def policy(signatures: Iterable[Signature]) -> InputPolicy:
    """The strictest policy of all models."""
    held = [signature.policy for signature in signatures]
    return InputPolicy(
        max((one.out_of_range for one in held), key=_STRICTEST.index),
        max((one.unseen_category for one in held), key=_STRICTEST.index),
        "reject" if any(one.not_finite == "reject" for one in held) else "accept",
    )
