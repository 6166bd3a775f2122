"""The trees of XGBoost, LightGBM and CatBoost, from the form that each library documents for its own models."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any

from modelwright.adapters.frameworks.forest import Forest, Link, UnconvertibleError

# XGBoost's objectives by what is done with the sum of the leaves; those that are not here keep it.
_XGBOOST_LINKS: Mapping[str, Link] = {
    "binary:logistic": "sigmoid",
    "reg:logistic": "sigmoid",
    "multi:softprob": "softmax",
    "multi:softmax": "softmax",
    "count:poisson": "exp",
    "reg:gamma": "exp",
    "reg:tweedie": "exp",
}
_XGBOOST_PLAIN = frozenset(
    {
        "reg:squarederror",
        "reg:squaredlogerror",
        "reg:absoluteerror",
        "reg:pseudohubererror",
        "reg:quantileerror",
        "binary:logitraw",
        "rank:ndcg",
        "rank:map",
        "rank:pairwise",
    }
)
_LIGHTGBM_LINKS: Mapping[str, Link] = {
    "binary": "sigmoid",
    "multiclass": "softmax",
    "multiclassova": "each_sigmoid",
    "cross_entropy": "sigmoid",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
}
_LIGHTGBM_PLAIN = frozenset(
    {
        "regression",
        "regression_l1",
        "huber",
        "fair",
        "quantile",
        "mape",
        "lambdarank",
        "rank_xendcg",
        "",
    }
)
_CATBOOST_LINKS: Mapping[str, Link] = {"Logloss": "sigmoid", "CrossEntropy": "sigmoid", "MultiClass": "softmax"}
_CATBOOST_EXPONENT = ("Poisson", "Tweedie")


def read_xgboost(booster: Any, best: int | None) -> Forest:
    """From the JSON model of XGBoost ("Introduction to Model IO"); ``best`` is the last round, or None for all.

    Raises:
        UnconvertibleError: categories, linear boosters, trees of several targets, other objectives.
    """
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    objective, held = learner["objective"]["name"], learner["gradient_booster"]
    if objective not in _XGBOOST_LINKS and objective not in _XGBOOST_PLAIN:
        raise UnconvertibleError(f"its objective is {objective}")
    weights: Sequence[float] = held.get("weight_drop", ())
    held = held.get("gbtree", held)
    if "trees" not in held.get("model", {}):
        raise UnconvertibleError(f"its booster is {learner['gradient_booster'].get('name', 'no tree')}")
    model, told = held["model"], learner["learner_model_param"]
    link = _XGBOOST_LINKS.get(objective, "identity")
    targets = max(int(told["num_class"]), int(told.get("num_target", 1)), 1)
    base = json.loads(told["base_score"])
    base = [_margin(float(one), link) for one in (base if isinstance(base, list) else [base])]
    forest = Forest(int(told["num_feature"]), targets, link, base=base * (targets // len(base)))
    until = model["iteration_indptr"][best + 1] if best is not None else len(model["trees"])
    for place, tree in enumerate(model["trees"][:until]):
        weight = float(weights[place]) if weights else 1.0
        _xgboost_tree(forest, place, tree, weight, int(model["tree_info"][place]))
    return forest


def _margin(score: float, link: Link) -> float:
    if link == "sigmoid":
        return log(score / (1 - score))
    return log(score) if link == "exp" else score


def _xgboost_tree(forest: Forest, place: int, tree: Mapping[str, Any], weight: float, target: int) -> None:
    if int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise UnconvertibleError("a leaf of its trees has several values")
    if any(tree.get("split_type", ())):
        raise UnconvertibleError("its trees split on categories")
    for node, (left, right) in enumerate(zip(tree["left_children"], tree["right_children"], strict=True)):
        value = float(tree["split_conditions"][node])
        if left == -1:
            forest.leaf(place, node, value * weight, target)
        else:
            missing = bool(tree["default_left"][node])
            feature = int(tree["split_indices"][node])
            forest.branch(place, node, "BRANCH_LT", feature, value, left, right, missing_yes=missing)


def read_lightgbm(booster: Any, best: int | None) -> Forest:
    """From ``Booster.dump_model``; ``best`` is the number of rounds, or None for all.

    Raises:
        UnconvertibleError: categories, zeros as missing values, linear trees, other objectives.
    """
    model = booster.dump_model(num_iteration=-1 if best is None else best)
    name, *settings = (model.get("objective") or "").split()
    known = name in _LIGHTGBM_LINKS or name in _LIGHTGBM_PLAIN
    if not known or ("sqrt" in settings and name != "regression"):
        raise UnconvertibleError(f"its objective is {model.get('objective')}")
    link = _LIGHTGBM_LINKS.get(name, "signed_square" if "sqrt" in settings else "identity")
    slope = next((float(word.partition(":")[2]) for word in settings if word.startswith("sigmoid:")), 1.0)
    targets, trees = int(model["num_tree_per_iteration"]), model["tree_info"]
    scale = slope / (len(trees) // targets) if model.get("average_output") and trees else slope
    forest = Forest(int(model["max_feature_idx"]) + 1, targets, link, scale=scale, double=True)
    for place, tree in enumerate(trees):
        _lightgbm_tree(forest, place, tree["tree_structure"], place % targets)
    return forest


def _lightgbm_tree(forest: Forest, place: int, root: Mapping[str, Any], target: int) -> None:
    """Nodes are numbered as they are met; a stack in place of recursion, since leaf-wise trees grow deep."""
    waiting, count = [(0, root)], 1
    while waiting:
        number, node = waiting.pop()
        if "leaf_value" in node:
            if "leaf_coeff" in node:
                raise UnconvertibleError("its leaves are linear models")
            forest.leaf(place, number, float(node["leaf_value"]), target)
            continue
        if node["decision_type"] != "<=":
            raise UnconvertibleError("its trees split on categories")
        if node["missing_type"] == "Zero":
            raise UnconvertibleError("it takes zeros for missing values")
        threshold = float(node["threshold"])
        # Where training saw no missing value, LightGBM reads NaN as zero.
        missing = bool(node["default_left"]) if node["missing_type"] == "NaN" else threshold >= 0
        yes, no = count, count + 1
        count += 2
        forest.branch(place, number, "BRANCH_LEQ", int(node["split_feature"]), threshold, yes, no, missing_yes=missing)
        waiting += [(no, node["right_child"]), (yes, node["left_child"])]


def read_catboost(model: Any, best: int | None) -> Forest:
    """From the JSON model of CatBoost ("JSON model format"); its files hold the best rounds alone, so ``best`` is None.

    Raises:
        UnconvertibleError: categories, text, embeddings, trees that are not symmetric, other losses.
    """
    del best
    with tempfile.TemporaryDirectory(prefix="modelwright-pack-") as folder:
        file = Path(folder) / "model.json"
        model.save_model(str(file), format="json")
        held = json.loads(file.read_bytes())
    if "oblivious_trees" not in held:
        raise UnconvertibleError("its trees are not symmetric")
    features = held["features_info"].get("float_features", [])
    if set(held["features_info"]) - {"float_features"}:
        raise UnconvertibleError("it has features that are categories, text or embeddings")
    params = held["model_info"]["params"]
    loss = str((json.loads(params) if isinstance(params, str) else params)["loss_function"]["type"])
    scale, bias = held["scale_and_bias"]
    bias = bias if isinstance(bias, list) else [bias]
    link: Link = "exp" if loss.startswith(_CATBOOST_EXPONENT) else _CATBOOST_LINKS.get(loss, "identity")
    if loss in {"MultiClassOneVsAll", "MultiLogloss", "MultiCrossEntropy", "MultiRMSE", "RMSEWithUncertainty"}:
        raise UnconvertibleError(f"its loss is {loss}")
    width = max((int(one["flat_feature_index"]) for one in features), default=-1) + 1
    trees = held["oblivious_trees"]
    targets = max(len(trees[0]["leaf_values"]) // max(len(trees[0]["leaf_weights"]), 1), 1) if trees else len(bias)
    forest = Forest(
        width, targets, link, scale=float(scale), base=[float(one) for one in bias] * (targets // len(bias))
    )
    for place, tree in enumerate(trees):
        _oblivious_tree(forest, place, tree, features)
    return forest


def _oblivious_tree(forest: Forest, place: int, tree: Mapping[str, Any], features: Sequence[Mapping[str, Any]]) -> None:
    """A symmetric tree as a binary one for each target: level l asks split l, whose answer is bit l of the leaf."""
    splits, targets = tree["splits"] or (), forest.targets
    depth = len(splits)
    for target in range(targets):
        number = place * targets + target
        for level, split in enumerate(splits):
            held = features[int(split["float_feature_index"])]
            missing = held.get("nan_value_treatment") == "AsTrue"
            for path in range(2**level):
                node = 2**level - 1 + path
                # The bits of the path are the answers to the splits above, the first one lowest.
                yes, no = 2 ** (level + 1) - 1 + path + 2**level, 2 ** (level + 1) - 1 + path
                border, feature = float(split["border"]), int(held["flat_feature_index"])
                forest.branch(number, node, "BRANCH_GT", feature, border, yes, no, missing_yes=missing)
        for path in range(2**depth):
            forest.leaf(number, 2**depth - 1 + path, float(tree["leaf_values"][path * targets + target]), target)
