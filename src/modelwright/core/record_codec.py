"""Frozen records to JSON values and strictly back: unknown, missing or ill-typed fields are errors, never guesses."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

from modelwright.core.errors import CorruptError

R = TypeVar("R")

# JSON has no such numbers; as these words they survive, and NumPy and ``float`` read them back.
_NON_FINITE = {"Infinity": math.inf, "-Infinity": -math.inf}


def malformed(where: str, why: str) -> CorruptError:
    """The one error of stored bytes that do not decode."""
    return CorruptError(
        "package.malformed",
        f"{where} cannot be read.",
        why=f"{why[:1].upper()}{why[1:]}.",
        fix="Pack the model again, or restore the file from a backup.",
    )


def parse_json(content: bytes, where: str) -> Any:
    """Strict JSON: UTF-8, no NaN or Infinity words, no repeated keys, bounded depth.

    Raises:
        CorruptError: ``package.malformed``.
    """

    def refuse(word: str) -> float:
        raise ValueError(f"{word} is not JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(pairs)
        if len(record) != len(pairs):
            raise ValueError("a key is repeated")
        return record

    try:
        return json.loads(content.decode(), parse_constant=refuse, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise malformed(where, f"it is not strict JSON ({error})") from error


def to_json(value: Any) -> Any:
    """A record, and everything in it, as JSON values. NaN becomes null, the infinities become words."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return to_json(value.tolist())
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def from_json(kind: type[R], value: Any, where: str) -> R:
    """Rebuild a record of type ``kind`` from JSON values, strictly by its annotations.

    Raises:
        CorruptError: ``package.malformed``, naming the field.
    """
    return cast("R", _decode(kind, value, where))


def _decode(kind: Any, value: Any, where: str) -> Any:
    if kind is Any or kind is object:
        return value
    if is_dataclass(kind):
        return _decode_record(cast("type[Any]", kind), value, where)
    origin = get_origin(kind)
    if origin is None:
        return _decode_plain(kind, value, where)
    arguments = get_args(kind)
    if origin in {Union, types.UnionType}:
        if value is None and type(None) in arguments:
            return None
        inner = [argument for argument in arguments if argument is not type(None)]
        return _decode(inner[0], value, where)
    if origin is Literal:
        if value in arguments and isinstance(value, str):
            return value
        raise malformed(where, f"it must be one of {', '.join(map(str, arguments))}")
    if origin is dict or origin is Mapping:
        return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in _of(dict, value, where).items()}
    return _decode_sequence(origin, arguments, _of(list, value, where), where)


def _decode_record(kind: type[Any], value: Any, where: str) -> Any:
    record = _of(dict, value, where)
    declared = {field.name: field for field in fields(kind)}
    unknown = sorted(set(record) - set(declared))
    if unknown:
        raise malformed(where, f"it has an unknown field {unknown[0]!r}")
    absent = [
        name
        for name, field in declared.items()
        if name not in record and field.default is MISSING and field.default_factory is MISSING
    ]
    if absent:
        raise malformed(where, f"it has no field {absent[0]!r}")
    hints = get_type_hints(kind)
    return kind(**{name: _decode(hints[name], item, f"{where}.{name}") for name, item in record.items()})


def _decode_sequence(origin: Any, arguments: tuple[Any, ...], items: list[Any], where: str) -> Any:
    if origin is list:
        return [_decode(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(items)]
    if origin is not tuple:  # pragma: no cover - a record field of a kind this codec does not know
        raise TypeError(f"no decoding for {origin}")
    if arguments[-1] is Ellipsis:
        return tuple(_decode(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(items))
    if len(items) != len(arguments):
        raise malformed(where, f"it must hold {len(arguments)} items")
    return tuple(
        _decode(kind, item, f"{where}[{index}]")
        for index, (kind, item) in enumerate(zip(arguments, items, strict=True))
    )


def _decode_plain(kind: Any, value: Any, where: str) -> Any:
    if kind is float:
        if value is None:
            return math.nan
        if isinstance(value, str) and value in _NON_FINITE:
            return _NON_FINITE[value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        raise malformed(where, "it must be a number")
    return _of(kind, value, where)


def _of(kind: type[R], value: Any, where: str) -> R:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        words = {dict: "an object", list: "a list", str: "text", int: "a whole number", bool: "true or false"}
        raise malformed(where, f"it must be {words.get(kind, kind.__name__)}")
    return value
