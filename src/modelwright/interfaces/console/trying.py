"""*Try it*: a form with one field per feature, and what the data plane said to it.

Values go out as they were written: whether they fit is the data plane's to say.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from modelwright.core import examples, package_codec
from modelwright.core.errors import ModelwrightError, NotFoundError
from modelwright.core.signature import Feature, Signature, TensorSpec
from modelwright.interfaces.console.data_plane import Said
from modelwright.ports.platform import Platform

MOST_FIELDS = 200  # a model with more features gets one field per tensor, in JSON
MOST_VALUES = 24  # of an output, shown at once; the rest is in the raw answer
_WHOLE = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_SHOWN_HEADERS = ("content-type", "retry-after")


@dataclass(frozen=True, slots=True)
class Field:
    """One field. ``choices`` are the only values of a ``choice`` and suggestions for a ``text``."""

    name: str
    label: str
    kind: Literal["number", "text", "choice", "json"]
    value: str
    hint: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Form:
    """What may be asked of which version; ``note`` says why nothing may be, ``versions`` are (number, role)."""

    version: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    fields: tuple[Field, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one try.

    ``error`` is in the data plane's words; ``label`` names the target and its predicted value, ``scores`` are
    (class, probability).
    """

    ok: bool
    version: str
    status: int = 0
    prediction_id: str = ""
    seconds: float | None = None
    error: str = ""
    label: str = ""
    scores: tuple[tuple[str, float], ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()
    request: str = ""
    response: str = ""


def form(platform: Platform, model: str, given: Mapping[str, str]) -> tuple[Form, Signature | None]:
    """The form for the version asked for, or for the champion, filled with what was given or with a golden row.

    Raises:
        NotFoundError: ``console.not-in-force``.
    """
    route = platform.routes.route(model)
    arms = sorted((*route.arms, *route.shadows), key=lambda arm: arm.role != "champion") if route else []
    versions = tuple((arm.version, arm.role) for arm in arms)
    if not versions:
        return Form(note="No version is in force."), None
    chosen = next((arm for arm in arms if arm.version == given.get("version", arm.version)), None)
    if chosen is None:
        raise NotFoundError(
            "console.not-in-force",
            f"Version {given['version'][:40]!r} of {model} is not in force.",
            fix=f"In force: {', '.join(number for number, _ in versions)}.",
        )
    try:
        package = package_codec.load(chosen.digest, platform.blobs.get)
    except ModelwrightError as error:
        return Form(chosen.version, versions, note=str(error)), None
    signature = package.signature
    golden = None if package.golden is None else examples.complete_rows(package.golden, signature, most=1)
    filled = (
        given if any(name.startswith("in:") for name in given) else _texts(signature, golden.inputs if golden else {})
    )
    return Form(chosen.version, versions, tuple(_fields(signature, filled))), signature


def body(signature: Signature, given: Mapping[str, str]) -> bytes:
    """One row as an inference request; its id begins with ``try-``."""
    features, tensors = _features(signature), []
    for spec in signature.inputs:
        names = _names(signature, spec)
        if names:
            row = [_value(given.get(_field(spec, name), ""), spec, features.get(name)) for name in names]
            shape = [1, *spec.shape[1:]]
        else:
            row = _json(given.get(_field(spec), ""))
            row = [row] if spec.shape[:1] == (-1,) else row
            shape = examples.shape_of(row)
        tensors.append({"name": spec.name, "datatype": spec.datatype, "shape": shape, "data": examples.flat(row)})
    return msgspec.json.encode({"id": f"try-{uuid.uuid4().hex}", "inputs": tensors})


def outcome(signature: Signature, version: str, path: str, asked: bytes, said: Said) -> Outcome:
    """An answer of the data plane, read."""
    own = {name: value for name, value in said.headers.items() if name.startswith("modelwright-")}
    shown = {name: said.headers[name] for name in _SHOWN_HEADERS if name in said.headers} | own
    head = "\n".join(f"{name}: {value}" for name, value in shown.items())
    answer = _decoded(said.body)
    ok = said.status == 200 and isinstance(answer, dict) and isinstance(answer.get("outputs"), list)
    outputs = {str(one["name"]): list(one["data"]) for one in answer["outputs"]} if ok else {}
    label, scores = outputs.get(signature.label_output, []), outputs.get(signature.score_output, [])
    error = answer.get("error", "") if isinstance(answer, dict) else said.body.decode(errors="replace")
    return Outcome(
        ok,
        own.get("modelwright-version", version),
        said.status,
        own.get("modelwright-prediction-id", ""),
        said.seconds,
        "" if ok else str(error or f"Status {said.status}."),
        f"{signature.target or signature.label_output}: {label[0]}" if len(label) == 1 else "",
        tuple(zip(signature.classes, scores, strict=True)) if scores and len(scores) == len(signature.classes) else (),
        tuple((name, _listed(values)) for name, values in outputs.items()),
        f"POST {path}\ncontent-type: application/json\n\n{_pretty(asked)}",
        f"HTTP {said.status}\n{head}\n\n{_pretty(said.body)}",
    )


def _fields(signature: Signature, filled: Mapping[str, str]) -> list[Field]:
    features, fields = _features(signature), []
    for spec in signature.inputs:
        names = _names(signature, spec)
        if not names:
            name, row = _field(spec), "One row" if spec.shape[:1] == (-1,) else "The tensor"
            hint = f"{row} of {spec.datatype} {list(spec.shape)}, as JSON"
            fields.append(Field(name, spec.name, "json", filled.get(name, ""), hint))
        for name in names:
            key = _field(spec, name)
            fields.append(_one(key, name, spec, features.get(name), filled.get(key, "")))
    return fields


def _one(key: str, name: str, spec: TensorSpec, feature: Feature | None, value: str) -> Field:
    hints = ["text" if spec.datatype == "BYTES" else spec.datatype]
    if feature is not None and feature.categories:
        hints.append(f"{len(feature.categories)} values seen")
    if feature is not None and feature.low is not None and feature.high is not None:
        hints.append(f"seen {feature.low:.4g} to {feature.high:.4g}")
    if feature is not None and feature.nullable:
        hints.append("may be empty")
    hint = ", ".join(hints)
    if spec.datatype == "BOOL":
        return Field(key, name, "choice", value, hint, ("true", "false"))
    if spec.datatype == "BYTES":
        return Field(key, name, "text", value, hint, feature.categories if feature else ())
    return Field(key, name, "number", value, hint)


def _names(signature: Signature, spec: TensorSpec) -> tuple[str, ...]:
    """The columns of one row that have names; empty where the tensor gets a single field in JSON."""
    names = spec.features or (spec.name,)
    if spec.shape[:1] != (-1,) or -1 in spec.shape[1:] or math.prod(spec.shape[1:]) != len(names):
        return ()
    return names if sum(len(one.features) or 1 for one in signature.inputs) <= MOST_FIELDS else ()


def _field(spec: TensorSpec, name: str = "") -> str:
    return f"in:{spec.name}:{name}"


def _features(signature: Signature) -> dict[str, Feature]:
    return {feature.name: feature for feature in signature.features}


def _texts(signature: Signature, tensors: Mapping[str, list[Any]]) -> dict[str, str]:
    """The first row of some tensors as the fields' texts."""
    texts: dict[str, str] = {}
    for spec in signature.inputs:
        held = tensors.get(spec.name)
        if held is None:
            continue
        names = _names(signature, spec)
        if names:
            cells = zip(names, examples.flat(held[0]), strict=True)
            texts |= {_field(spec, name): _text(value) for name, value in cells}
        else:
            texts[_field(spec)] = msgspec.json.encode(held[0] if spec.shape[:1] == (-1,) else held).decode()
    return texts


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _value(text: str, spec: TensorSpec, feature: Feature | None) -> Any:
    """What was written, as JSON; a number that is none stays text, which the data plane refuses in its own words."""
    if spec.datatype == "BYTES":
        return None if not text and feature is not None and feature.null_as is not None else text
    text = text.strip()
    if not text:
        return None
    if spec.datatype == "BOOL":
        return {"true": True, "false": False}.get(text, text)
    if _WHOLE.fullmatch(text) and -(2**63) <= int(text) < 2**64:
        return int(text)
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _json(text: str) -> Any:
    """What was written, as JSON; text where it is none, or nested beyond what anybody reads."""
    try:
        value = msgspec.json.decode(text)
        examples.flat(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
    return value


def _decoded(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _listed(values: list[Any]) -> str:
    more = len(values) - MOST_VALUES
    return ", ".join(map(str, values[:MOST_VALUES])) + (f" and {more} more" if more > 0 else "")


def _pretty(content: bytes) -> str:
    """JSON with a line per member, and per tensor; else the text as it is."""
    value = _decoded(content)
    if not isinstance(value, dict):
        return content.decode(errors="replace")
    lines = []
    for name, held in value.items():
        if isinstance(held, list) and held:
            inner = ",\n".join(f"    {_line(one)}" for one in held)
            lines.append(f"  {_line(name)}: [\n{inner}\n  ]")
        else:
            lines.append(f"  {_line(name)}: {_line(held)}")
    return "{\n" + ",\n".join(lines) + "\n}"


def _line(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()
