"""A generalized linear model as an ONNX graph: weights, a constant, and the inverse of the link, in 64 bits.

The expected value is g^-1(X b) (McCullagh and Nelder, Generalized Linear Models, 1989, section 2.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from modelwright.core.errors import RefusedError
from modelwright.core.signature import Signature

_LINKS = {"Identity": "Identity", "Logit": "Sigmoid", "Log": "Exp"}
"""Link in statsmodels -> operator of ONNX that is its inverse."""
_BY_MODEL = {"OLS": "Identity", "WLS": "Identity", "GLS": "Identity", "GLSAR": "Identity", "RLM": "Identity"} | {
    "QuantReg": "Identity",
    "Logit": "Logit",
    "Poisson": "Log",
    "NegativeBinomial": "Log",
}
_OPSET, _IR = 17, 8


def link_of(results: Any) -> str:
    """The name of the model's link; empty where it is not known to be one."""
    family = getattr(results.model, "family", None)
    if family is not None:
        return type(family.link).__name__
    return _BY_MODEL.get(type(results.model).__name__, "")


def to_graph(results: Any, signature: Signature, kinds: Mapping[str, str]) -> bytes:
    """The serialized graph with the signature's inputs (FP64 [n, 1]) and outputs.

    Args:
        results: the fitted results.
        signature: names inputs, columns and outputs; a score output is [n, 2].
        kinds: NumPy's kind of each column.

    Raises:
        RefusedError: ``pack.unconvertible``.
    """
    from onnx import TensorProto, helper, numpy_helper  # lazy: heavy

    inverse, weights, constant = _layer(results, signature, kinds)
    tensors = [numpy_helper.from_array(weights.reshape(-1, 1), "weights")]
    tensors += [numpy_helper.from_array(np.array([constant]), "constant")]
    nodes = [
        helper.make_node("Concat", [spec.name for spec in signature.inputs], ["columns"], axis=1),
        helper.make_node("MatMul", ["columns", "weights"], ["weighed"]),
        helper.make_node("Add", ["weighed", "constant"], ["linear"]),
        helper.make_node(inverse, ["linear"], ["expected"]),
    ]
    if signature.score_output:
        tensors += [numpy_helper.from_array(np.array([1.0]), "one"), numpy_helper.from_array(np.array([0.5]), "half")]
        tensors += [numpy_helper.from_array(np.array([-1]), "flat")]
        nodes += [
            helper.make_node("Sub", ["one", "expected"], ["other"]),
            helper.make_node("Concat", ["other", "expected"], [signature.score_output], axis=1),
            helper.make_node("Greater", ["expected", "half"], ["above"]),
            helper.make_node("Cast", ["above"], ["chosen"], to=TensorProto.INT64),
            helper.make_node("Reshape", ["chosen", "flat"], [signature.label_output]),
        ]
        outputs: list[tuple[str, Any, list[Any]]] = [(signature.label_output, TensorProto.INT64, ["n"])]
        outputs += [(signature.score_output, TensorProto.DOUBLE, ["n", 2])]
    else:
        tensors += [numpy_helper.from_array(np.array([-1]), "flat")]
        nodes += [helper.make_node("Reshape", ["expected", "flat"], [signature.label_output])]
        outputs = [(signature.label_output, TensorProto.DOUBLE, ["n"])]
    graph = helper.make_graph(
        nodes,
        "statsmodels",
        [helper.make_tensor_value_info(spec.name, TensorProto.DOUBLE, ["n", 1]) for spec in signature.inputs],
        [helper.make_tensor_value_info(*output) for output in outputs],
        tensors,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    content: bytes = made.SerializeToString(deterministic=True)
    return content


def _layer(results: Any, signature: Signature, kinds: Mapping[str, str]) -> tuple[str, Any, float]:
    """The operator, the weights in the order of the inputs [k], and the constant."""
    inverse = _LINKS.get(link_of(results), "")
    if not inverse:
        raise _refused(results, f"Its link ({link_of(results) or 'none'}) has no operator in ONNX that is tried here.")
    found = np.asarray(results.params, dtype=np.float64)
    names = [name for spec in signature.inputs for name in spec.features]
    terms = [str(name) for name in results.model.exog_names]
    index = results.model.data.const_idx
    if not getattr(results.model, "formula", None) and not hasattr(results.model.data.orig_exog, "columns"):
        full = len(names) == len(terms)
        terms = list(names) if full else [*names[:index], "", *names[index:]]
    # Poisson and NegativeBinomial keep the dispersion behind the weights of the columns.
    if found.ndim != 1 or len(found) < len(terms):
        raise _refused(results, "It has more than one row of weights.")
    by_term = dict(zip(terms, found.tolist(), strict=False))
    constants = {term for place, term in enumerate(terms) if place == index and term not in names}
    strange = [term for term in terms if term not in names and term not in constants]
    if strange or any(name not in by_term for name in names):
        raise _refused(results, f"Its term {(strange or names)[0]!r} is made from columns and is none of them.")
    if any(kinds[name] not in "biuf" for name in names):
        raise _refused(results, "It takes text.")
    return inverse, np.array([by_term[name] for name in names]), float(sum(by_term[term] for term in constants))


def _refused(results: Any, why: str) -> RefusedError:
    return RefusedError(
        "pack.unconvertible",
        f"This {type(results.model).__name__} of statsmodels is no single layer of weights.",
        why=why,
        fix="Leave --onnx out: the model is packed as it is then.",
    )
