"""``modelwright.yaml``: what a project asks of its models.

```yaml
models:
  flight-delay:                    # the model's name
    recipe:                        # how to train a new candidate; without it the model is never renewed
      load: recipe.py:load         # FILE:FUNCTION, relative to this file: load(recorded) -> (X, y[, X_val, y_val])
      train: recipe.py:train       # train(X, y) -> fitted model
      target: late                 # name of the label column
      timeout_seconds: 3600        # the recipe is stopped after so long
    schedule: "0 3 * * 1"          # renew on this cron schedule, UTC
    on_findings: [drift, performance]  # renew when watching finds one of these at `warning` or above
    cooldown_seconds: 3600         # no second order by a finding within this time
    canary:
      weight: 0.1                  # share of the requests that a candidate gets
      requests: 500                # canary answers that a promotion needs
      timeout: 600                 # seconds to get them, else the champion stays; 0 = no canary
    margin: 0.01                   # how much worse than the champion a candidate's upper bound may be, relative
    gates: {roc_auc: 0.7}          # metric to the least value (for a loss: the largest) that passes
    latency_budget_ms: 50          # median milliseconds allowed for one row
    slices: [airport, carrier]     # columns by whose values a candidate is measured again
    max_slice_gap: {accuracy: 0.1}  # metric to how much worse than the rest a group of a slice may be
    keep_shadow: "1"               # a version that runs as shadow across promotions
    signed: [champion]             # where a signature by a trusted key is asked for
alerts:
  - channel: webhook
    url: https://example.org/hook
    secret: "..."                  # signs the body
settings:                          # read by modelwright.settings; an environment variable counts before them
  workers: 2
graphs:                            # read by the adapter of graphs when one of them is packed
  flights:
    nodes: {small: {package: small.mw}, large: {package: large.mw}, both: {ensemble: [small, large]}}
```

Every key is optional, but a recipe needs ``load``, ``train`` and ``target``, and an alert its ``channel``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.core.names import require_model_name
from modelwright.core.signature import Action, InputPolicy
from modelwright.ports.platform import ModelPolicy
from modelwright.ports.trainer import Recipe

KINDS = (
    *("drift", "nulls-up", "nulls-down", "new-category", "constant", "unit-change", "out-of-range"),
    *("missing-column", "extra-column", "retyped-column", "prediction-drift", "performance", "errors"),
)
CHANNEL_KEYS = {"log": ((), ()), "webhook": (("url",), ("secret",))}  # needed, allowed besides; plugins check their own

Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
S = TypeVar("S")


class _Recipe(msgspec.Struct, forbid_unknown_fields=True):
    load: str
    train: str
    target: str
    timeout_seconds: Positive = 3600.0


class _Canary(msgspec.Struct, forbid_unknown_fields=True):
    weight: Annotated[float, msgspec.Meta(gt=0, lt=1)] = ModelPolicy().canary_weight
    requests: Annotated[int, msgspec.Meta(ge=1)] = ModelPolicy().canary_requests
    timeout: NotNegative = ModelPolicy().canary_timeout


class _Inputs(msgspec.Struct, forbid_unknown_fields=True):
    out_of_range: Action = InputPolicy().out_of_range
    unseen_category: Action = InputPolicy().unseen_category
    not_finite: Literal["accept", "reject"] = InputPolicy().not_finite


class _Model(msgspec.Struct, forbid_unknown_fields=True):
    recipe: _Recipe | None = None
    schedule: str = ""
    on_findings: list[str] = msgspec.field(default_factory=list)
    cooldown_seconds: NotNegative = ModelPolicy().cooldown_seconds
    canary: _Canary = msgspec.field(default_factory=_Canary)
    margin: NotNegative = ModelPolicy().margin
    gates: dict[str, float] | None = None
    latency_budget_ms: Positive = ModelPolicy().latency_budget_ms
    keep_shadow: str = ""
    inputs: _Inputs = msgspec.field(default_factory=_Inputs)
    signed: list[Literal["register", "champion", "challenger", "shadow"]] = msgspec.field(default_factory=list)
    slices: list[str] = msgspec.field(default_factory=list)
    max_slice_gap: dict[str, NotNegative] | None = None


class _Project(msgspec.Struct, forbid_unknown_fields=True):
    models: dict[str, Any] = msgspec.field(default_factory=dict)
    alerts: list[dict[str, Any]] = msgspec.field(default_factory=list)
    settings: dict[str, Any] | None = None
    graphs: dict[str, Any] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Project:
    """Policies by model name, and the alert channels: ``channel`` and the arguments it is made with."""

    policies: Mapping[str, ModelPolicy] = field(default_factory=dict)
    alerts: tuple[Mapping[str, Any], ...] = ()


def read_project(path: Path) -> Project:
    """The project file; an empty project where there is none.

    Raises:
        BadInputError: ``project.invalid``, naming the key.
    """
    import yaml  # lazy: 20 ms

    try:
        text = path.read_text(encoding="utf-8")
        body = yaml.safe_load(text)
    except FileNotFoundError:
        return Project()
    except (OSError, UnicodeDecodeError) as error:
        raise _invalid(path, "", f"it cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise _invalid(path, "", f"it is no YAML: {' '.join(str(error).split())}") from error
    project = _convert(path, "", body if body is not None else {}, _Project)
    root = path.absolute().parent
    policies = {str(name): _policy(path, str(name), model, root) for name, model in project.models.items()}
    alerts = tuple(_alert(path, index, alert) for index, alert in enumerate(project.alerts))
    return Project(policies, alerts)


def _policy(path: Path, name: str, body: object, root: Path) -> ModelPolicy:
    where = f"models.{name}"
    try:
        require_model_name(name)
    except ModelwrightError as error:
        raise _invalid(path, where, str(error)) from error
    model = _convert(path, where, body if body is not None else {}, _Model)
    for kind in model.on_findings:
        if kind not in KINDS:
            raise _invalid(path, f"{where}.on_findings", f"there is no finding {kind!r}", _near(kind, KINDS))
    if model.schedule and len(model.schedule.split()) != 5:
        raise _invalid(path, f"{where}.schedule", f"{model.schedule!r} is no cron schedule of five fields")
    if model.max_slice_gap and not model.slices:
        raise _invalid(path, f"{where}.max_slice_gap", "it says nothing without slices", "Name columns in slices.")
    recipe = None
    if model.recipe:
        for key, value in (("load", model.recipe.load), ("train", model.recipe.train)):
            if not re.fullmatch(r"[^:]+\.py:[A-Za-z_]\w*", value):
                raise _invalid(path, f"{where}.recipe.{key}", f"{value!r} is not FILE.py:FUNCTION")
        recipe = Recipe(root, model.recipe.load, model.recipe.train, model.recipe.target, model.recipe.timeout_seconds)
    return ModelPolicy(
        recipe=recipe,
        schedule=model.schedule,
        on_findings=tuple(model.on_findings),
        cooldown_seconds=model.cooldown_seconds,
        canary_weight=model.canary.weight,
        canary_requests=model.canary.requests,
        canary_timeout=model.canary.timeout,
        margin=model.margin,
        gates=model.gates,
        latency_budget_ms=model.latency_budget_ms,
        keep_shadow=model.keep_shadow,
        signed=tuple(model.signed),
        slices=tuple(model.slices),
        max_slice_gap=model.max_slice_gap,
        inputs=InputPolicy(model.inputs.out_of_range, model.inputs.unseen_category, model.inputs.not_finite),
    )


def _alert(path: Path, index: int, body: Mapping[str, Any]) -> Mapping[str, Any]:
    where = f"alerts[{index}]"
    name = body.get("channel")
    if not isinstance(name, str):
        raise _invalid(path, f"{where}.channel", "every alert names its channel, for example webhook")
    if name in CHANNEL_KEYS:
        needed, allowed = CHANNEL_KEYS[name]
        for key in body:
            if key not in {"channel", *needed, *allowed}:
                raise _invalid(path, f"{where}.{key}", f"{name} has no such key", _near(str(key), (*needed, *allowed)))
        for key in needed:
            if not isinstance(body.get(key), str):
                raise _invalid(path, f"{where}.{key}", f"{name} needs it, as text")
    return {str(key): value for key, value in body.items()}


def _convert(path: Path, where: str, body: object, kind: type[S]) -> S:
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        words, _, inner = str(error).partition(" - at `$")
        inner = inner.rstrip("`").lstrip(".")
        place = ".".join(part for part in (where, inner) if part)
        unknown = re.search(r"unknown field `(.*)`", words)
        if unknown is None:
            raise _invalid(path, place, words[:1].lower() + words[1:]) from error
        key = unknown.group(1)
        place = f"{place}.{key}".lstrip(".")
        raise _invalid(path, place, "there is no such key", _near(key, _keys(kind, inner))) from error


def _keys(kind: type[Any], inner: str) -> tuple[str, ...]:
    """Keys allowed at a place: one level inside a model at most."""
    nested = {"recipe": _Recipe, "canary": _Canary}
    return tuple(nested.get(inner, kind).__struct_fields__)


def _near(word: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."


def _invalid(path: Path, where: str, why: str, fix: str = "") -> BadInputError:
    return BadInputError(
        "project.invalid",
        f"{path.name} cannot be used{f', at {where}' if where else ''}.",
        why=f"{why[:1].upper()}{why[1:]}.",
        fix=fix or "See docs/reference/project-file.md for what may stand there.",
        details={"key": where} if where else None,
    )
