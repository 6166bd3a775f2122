"""The parameters of an inference request and of its outputs that mean something here; every other one is let pass."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import msgspec

from modelwright.core.errors import BadInputError
from modelwright.serve.call import DEFAULT_PRIORITY, MAX_PRIORITY

Parameter = str | int | float | bool | None
Wishes = tuple[Mapping[str, bool], Mapping[str, int]]
NO_WISHES: Wishes = ({}, {})


class InferOutput(msgspec.Struct, gc=False):
    """One element of ``outputs``."""

    name: str
    parameters: dict[str, Parameter] | None = None


def schedule(parameters: Mapping[str, Parameter]) -> tuple[float, int]:
    """The moment a caller gives up, and how urgent the request is, of the schedule policy extension.

    ``timeout`` is microseconds from now (0: none), ``priority`` 1 to 10 (0: the usual one).

    Raises:
        BadInputError: ``serve.bad-request``.
    """
    timeout, priority = parameters.get("timeout") or 0, parameters.get("priority") or 0
    for name, value, most in (("timeout", timeout, 2**63), ("priority", priority, MAX_PRIORITY)):
        if type(value) is not int or not 0 <= value <= most:
            raise BadInputError(
                "serve.bad-request", f"The parameter {name!r} is no whole number from 0 to {most}.", fix="Leave it out."
            )
    assert isinstance(timeout, int)
    assert isinstance(priority, int)
    return (time.perf_counter() + timeout / 1e6 if timeout else math.inf), priority or DEFAULT_PRIORITY


def wishes(outputs: list[InferOutput]) -> Wishes:
    """Which outputs are wanted in binary, and as how many classes.

    Raises:
        BadInputError: ``serve.bad-classification``.
    """
    binary: dict[str, bool] = {}
    classes: dict[str, int] = {}
    for output in outputs:
        parameters = output.parameters
        if not parameters:
            continue
        if "binary_data" in parameters:
            binary[output.name] = parameters["binary_data"] is True
        if "classification" in parameters:
            classes[output.name] = _class_count(output.name, parameters["classification"])
    return binary, classes


def _class_count(name: str, count: Parameter) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise BadInputError(
            "serve.bad-classification",
            f"The parameter classification of output {name[:100]!r} is no number of classes.",
            fix="Give a whole number, at least 1.",
        )
    return count
