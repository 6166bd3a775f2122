"""JSON Schemas of one model's requests and answers, from its signature.

What a feature held in the reference (bounds, categories) is demanded where the model's input policy refuses the rest,
and otherwise told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from modelwright.core.signature import AS_SEEN, DATATYPES, Feature, InputPolicy, Signature, TensorSpec
from modelwright.interfaces.http.openapi_bodies import ID, INFER_PARAMETERS, OUTPUT_WISH_PARAMETERS

Schema = dict[str, Any]
MOST_CATEGORIES = 30  # shown as examples
SEEN = "x-modelwright-seen"
_OTHERS = {"accept": "Others are taken too.", "warn": "Others are taken and reported.", "reject": "Others are refused."}
_RANGE = _OTHERS | {"coerce": "Others become the nearest bound."}
_LEVELS = _OTHERS | {"coerce": "Others count as missing."}


def infer_request(signature: Signature) -> Schema:
    """The body of an inference request."""
    each = [_input(spec, signature) for spec in signature.inputs]
    named = [{"contains": {"properties": {"name": {"const": spec.name}}}} for spec in signature.inputs]
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": ID,
            "parameters": INFER_PARAMETERS,
            "inputs": {
                "type": "array",
                "description": "Every input once, in any order.",
                "minItems": len(each),
                "maxItems": len(each),
                "items": {"anyOf": each},
                "allOf": named,
            },
            "outputs": {
                "type": "array",
                "description": "The outputs wanted; left out: all of them.",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"enum": [spec.name for spec in signature.outputs]},
                        "parameters": OUTPUT_WISH_PARAMETERS,
                    },
                },
            },
        },
    }


def infer_answer(signature: Signature, model: str, version: str) -> Schema:
    """The body of its answer."""
    return {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "model_name": {"const": model},
            "model_version": {"type": "string", "examples": [version]},
            "id": {"type": "string", "description": "The request's id, where it had one."},
            "outputs": {"type": "array", "items": {"anyOf": [_output(spec, signature) for spec in signature.outputs]}},
        },
    }


def predict_request(signature: Signature) -> Schema:
    """The body of a V1 request: one instance is one row."""
    specs, only = signature.inputs, signature.inputs[0]
    forms = [_record({spec.name: _cell(spec, signature) for spec in specs})]
    columns = _columns(only, signature)
    if len(specs) > 1:
        forms.append(_tuple([_cell(spec, signature) for spec in specs]))
    else:
        if only.features and columns:
            forms.insert(0, _record(dict(zip(only.features, columns, strict=True))))
        forms.append(_cell(only, signature))
    return {
        "type": "object",
        "required": ["instances"],
        "properties": {"instances": {"type": "array", "items": {"anyOf": forms}}},
    }


def predict_answer(signature: Signature) -> Schema:
    """The body of its answer."""
    cells = {spec.name: _nested(spec.shape[1:], element(spec.datatype)) for spec in signature.outputs}
    row = next(iter(cells.values())) if len(cells) == 1 else _record(cells)
    return {
        "type": "object",
        "required": ["predictions"],
        "properties": {"predictions": {"type": "array", "items": row}},
    }


def element(datatype: str, feature: Feature | None = None, policy: InputPolicy = AS_SEEN) -> Schema:
    """One value of a tensor; ``feature`` adds its name and what was seen of it, ``policy`` what that demands."""
    dtype = DATATYPES[datatype]
    schema: Schema = {
        "type": {"b": "boolean", "i": "integer", "u": "integer", "f": "number", "O": "string"}[dtype.kind]
    }
    if dtype.kind in "iu":
        bits = 8 * dtype.itemsize
        low, high = (0, 2**bits - 1) if dtype.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        schema |= {"minimum": low, "maximum": high}
    if feature is None:
        return schema
    schema["title"] = feature.name
    if feature.low is not None and feature.high is not None:
        schema |= _bounds(dtype, feature.low, feature.high, policy)
    if feature.categories and datatype == "BYTES":
        schema |= _levels(feature, policy)
    return schema


def _bounds(dtype: np.dtype[Any], low: float, high: float, policy: InputPolicy) -> Schema:
    said = f"Seen in the reference: {low:g} to {high:g}. {_RANGE[policy.out_of_range]}"
    schema: Schema = {"description": said, SEEN: {"low": low, "high": high}}
    if policy.out_of_range == "reject" and dtype.kind in "iuf":
        # A bound as a person writes it may be a little outside of what the datatype makes of it.
        schema |= {"minimum": min(low, _short(dtype, low)), "maximum": max(high, _short(dtype, high))}
    return schema


def _short(dtype: np.dtype[Any], bound: float) -> float:
    return float(str(dtype.type(bound))) if dtype.kind == "f" else bound


def _levels(feature: Feature, policy: InputPolicy) -> Schema:
    said, action = f"Seen in the reference: {len(feature.categories)} values.", policy.unseen_category
    if action == "reject" or (action == "coerce" and feature.null_as is None):
        known = dict.fromkeys((*feature.categories, *([] if feature.null_as is None else [feature.null_as])))
        return {"description": f"{said} {_LEVELS['reject']}", "enum": list(known)}
    return {"description": f"{said} {_LEVELS[action]}", "examples": list(feature.categories[:MOST_CATEGORIES])}


def _input(spec: TensorSpec, signature: Signature) -> Schema:
    column = spec.shape[1:] == (1,)
    return {
        "type": "object",
        "title": spec.name,
        "required": ["name", "datatype", "shape"],
        "anyOf": [{"required": ["data"]}, {"required": ["parameters"]}],
        "properties": {
            "name": {"const": spec.name},
            "datatype": {"enum": ["BYTES", "STRING"]} if spec.datatype == "BYTES" else {"const": spec.datatype},
            "shape": _shape(spec.shape, least=len(spec.shape) - column),
            "data": _data(spec, signature),
            "parameters": {
                "type": "object",
                "description": "`binary_data_size`: so many bytes after the JSON are this tensor, instead of `data`.",
                "properties": {"binary_data_size": {"type": "integer", "minimum": 0}},
            },
        },
    }


def _output(spec: TensorSpec, signature: Signature) -> Schema:
    said = {signature.label_output: "The predicted label or value.", signature.score_output: _scores(signature)}
    return {
        "type": "object",
        "title": spec.name,
        **({"description": said[spec.name]} if said.get(spec.name) else {}),
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": {"const": spec.name},
            "datatype": {"const": spec.datatype},
            "shape": _shape(spec.shape, least=len(spec.shape)),
            "data": {"type": "array", "items": element(spec.datatype), "description": "In row-major order."},
            "parameters": {
                "type": "object",
                "description": "Where it was asked for in binary: `binary_data_size` instead of `data`.",
                "properties": {"binary_data_size": {"type": "integer", "minimum": 0}},
            },
        },
    }


def _scores(signature: Signature) -> str:
    return f"A probability per class, in this order: {', '.join(signature.classes)}." if signature.classes else ""


def _shape(shape: tuple[int, ...], *, least: int) -> Schema:
    sizes: list[Schema] = [{"type": "integer", "minimum": 0} if size == -1 else {"const": size} for size in shape]
    schema: Schema = {"type": "array", "minItems": least, "maxItems": len(shape), "items": {"type": "integer"}}
    return schema | ({"prefixItems": sizes} if sizes else {})


def _data(spec: TensorSpec, signature: Signature) -> Schema:
    """Flat in row-major order, or nested like the shape."""
    columns = _columns(spec, signature)
    one = columns[0] if columns and len(columns) == 1 else _any_of(spec, signature)
    forms = [{"type": "array", "items": one}]
    if len(spec.shape) > 1:
        row = _tuple(columns) if columns and len(spec.shape) == 2 else _nested(spec.shape[1:], one)
        forms.append({"type": "array", "items": row})
    if not spec.shape:
        forms.append(one)
    return {"anyOf": forms, "description": "Flat in row-major order, or nested like the shape."}


def _cell(spec: TensorSpec, signature: Signature) -> Schema:
    """One row of an input in a V1 instance; of a column tensor its only value will do."""
    columns = _columns(spec, signature)
    if columns and len(spec.shape) == 2:
        row = _tuple(columns)
        return {"anyOf": [columns[0], row]} if len(columns) == 1 else row
    return _nested(spec.shape[1:], _any_of(spec, signature))


def _columns(spec: TensorSpec, signature: Signature) -> list[Schema]:
    """A schema per feature that the tensor carries; empty where its columns have no names."""
    names = spec.features or (spec.name,)
    if not spec.shape or -1 in spec.shape[1:] or math.prod(spec.shape[1:]) != len(names):
        return []
    features = _features(signature)
    return [
        _or_null(
            element(spec.datatype, features.get(name, Feature(name, "number")), signature.policy),
            may=_may_be_null(spec, features.get(name), signature),
        )
        for name in names
    ]


def _any_of(spec: TensorSpec, signature: Signature) -> Schema:
    """An element of whichever feature: null where any of them may be missing."""
    features = _features(signature)
    may = any(_may_be_null(spec, features.get(name), signature) for name in spec.features or (spec.name,))
    return _or_null(element(spec.datatype), may=may)


def _features(signature: Signature) -> Mapping[str, Feature]:
    return {feature.name: feature for feature in signature.features}


def _may_be_null(spec: TensorSpec, feature: Feature | None, signature: Signature) -> bool:
    """As ``serve.validate`` has it: numbers with a fraction and text only."""
    nullable = feature is not None and feature.nullable
    if spec.datatype == "BYTES":
        return nullable and feature is not None and feature.null_as is not None
    described = any(name in _features(signature) for name in spec.features or (spec.name,))
    taken = nullable or not described or signature.policy.not_finite == "accept"
    return taken and DATATYPES[spec.datatype].kind == "f"


def _or_null(schema: Schema, *, may: bool) -> Schema:
    if not may:
        return schema
    enum = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return schema | {"type": [schema["type"], "null"]} | enum


def _nested(shape: tuple[int, ...], one: Schema) -> Schema:
    schema = one
    for size in reversed(shape):
        exact = {} if size == -1 else {"minItems": size, "maxItems": size}
        schema = {"type": "array", "items": schema, **exact}
    return schema


def _record(properties: Mapping[str, Schema]) -> Schema:
    return {
        "type": "object",
        "required": list(properties),
        "properties": dict(properties),
        "additionalProperties": False,
    }


def _tuple(items: list[Schema]) -> Schema:
    return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
