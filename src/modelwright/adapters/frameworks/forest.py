"""Boosted trees as plain arrays, and as the ONNX operators that sum them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Link = Literal["identity", "sigmoid", "softmax", "exp", "each_sigmoid", "signed_square"]
Mode = Literal["BRANCH_LT", "BRANCH_LEQ", "BRANCH_GT", "BRANCH_EQ", "LEAF"]


class UnconvertibleError(Exception):
    """Why these trees cannot be written as ONNX operators, as half a sentence."""


@dataclass(slots=True)
class Forest:
    """Trees whose leaves are summed by target, then scaled, moved and put through the link.

    The first node of a tree is its root. A branch sends a row to ``yes`` where its feature compares with ``value`` as
    ``mode`` says, and where the feature is NaN if ``missing_yes``. Of a leaf ``value`` is its weight for ``target``.

    Attributes:
        width: columns that the model was trained on.
        targets: sums that are taken: 1, or one for each class.
        link: from the sums to the answer.
        scale: what the sums are multiplied by.
        base: what is added then, one for each target.
        double: split points are 64-bit numbers, compared with 64-bit values; else both are 32 bits.
    """

    width: int
    targets: int
    link: Link
    scale: float = 1.0
    base: Sequence[float] = ()
    double: bool = False
    tree: list[int] = field(default_factory=list)
    node: list[int] = field(default_factory=list)
    feature: list[int] = field(default_factory=list)
    mode: list[Mode] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    yes: list[int] = field(default_factory=list)
    no: list[int] = field(default_factory=list)
    missing_yes: list[int] = field(default_factory=list)
    target: list[int] = field(default_factory=list)

    def branch(
        self, tree: int, node: int, mode: Mode, feature: int, value: float, yes: int, no: int, *, missing_yes: bool
    ) -> None:
        """Add a node that asks."""
        self._add(tree, node, mode, feature, value, yes, no, int(missing_yes), 0)

    def leaf(self, tree: int, node: int, weight: float, target: int) -> None:
        """Add a node that answers."""
        self._add(tree, node, "LEAF", 0, weight, 0, 0, 0, target)

    def _add(self, tree: int, node: int, mode: Mode, feature: int, value: float, *rest: int) -> None:
        for held, item in zip(
            (self.tree, self.node, self.feature, self.yes, self.no, self.missing_yes, self.target),
            (tree, node, feature, *rest),
            strict=True,
        ):
            held.append(item)
        self.mode.append(mode)
        self.value.append(value)

    def ranked(self) -> list[NDArray[np.float64]]:
        """Split points by feature, sorted; the branches are changed to compare ranks: x <= t[i] as rank <= i + 0.5.

        ONNX Runtime's trees are certain of 32 bits only, and a rank among split points is a small whole number.
        """
        if any(mode not in ("BRANCH_LEQ", "LEAF") for mode in self.mode):
            raise UnconvertibleError("categories are not compared by rank")
        asked = np.array([mode != "LEAF" for mode in self.mode], dtype=bool)
        features, values = np.array(self.feature), np.array(self.value, dtype=np.float64)
        points = [np.unique(values[asked & (features == feature)]) for feature in range(self.width)]
        for index in np.flatnonzero(asked):
            known = points[self.feature[index]]
            self.value[index] = float(np.searchsorted(known, self.value[index])) + 0.5
        return points


def add_trees(forest: Forest, scope: Any, container: Any, source: str) -> str:
    """The operator that gives the sums [n, targets] for [n, width] 32-bit values; returns its output's name."""
    output: str = scope.get_unique_variable_name("sums")
    leaves = [index for index, mode in enumerate(forest.mode) if mode == "LEAF"]
    container.add_node(
        "TreeEnsembleRegressor",
        [source],
        output,
        op_domain="ai.onnx.ml",
        op_version=3,
        name=scope.get_unique_operator_name("TreeEnsembleRegressor"),
        n_targets=forest.targets,
        nodes_treeids=forest.tree,
        nodes_nodeids=forest.node,
        nodes_featureids=forest.feature,
        nodes_modes=forest.mode,
        nodes_values=[0.0 if mode == "LEAF" else value for mode, value in zip(forest.mode, forest.value, strict=True)],
        nodes_truenodeids=forest.yes,
        nodes_falsenodeids=forest.no,
        nodes_missing_value_tracks_true=forest.missing_yes,
        target_treeids=[forest.tree[index] for index in leaves],
        target_nodeids=[forest.node[index] for index in leaves],
        target_ids=[forest.target[index] for index in leaves],
        target_weights=[float(forest.value[index]) for index in leaves],
    )
    return output
