"""Which way a model goes, decided alike for every framework: a graph where one holds, else as code."""

from __future__ import annotations

from collections.abc import Callable

from modelwright.core.errors import ModelwrightError
from modelwright.ports.framework import Conversion

ASKED = "It was asked for."
NO_ONNX = frozenset({"pack.unconvertible", "pack.parity-failed", "pack.unsupported-model"})
"""Codes of the errors that say: not on the ONNX route."""


def on_route(
    route: str,
    graph: Callable[[], Conversion],
    code: Callable[[str], Conversion],
    *,
    why: str = "",
    explain: bool = False,
) -> Conversion:
    """The model as a graph, or as code where that is asked for or the graph does not hold.

    Args:
        route: ``auto``, ``onnx`` or ``native``.
        graph: converts the model.
        code: packs it as code; is given why.
        why: why it runs as code, where that is known before a conversion is tried.
        explain: what ``code`` raises says too why the model is no graph.

    Raises:
        ModelwrightError: what ``graph`` raises, unless it only says that there is no graph and one need not be; what
            ``code`` raises.
    """
    if route != "native" and not why:
        try:
            return graph()
        except ModelwrightError as error:
            if route == "onnx" or error.code not in NO_ONNX:
                raise
            why = because(error)
    why = why or ASKED
    try:
        return code(why)
    except ModelwrightError as error:
        if not explain:
            raise
        raise neither(error, why) from error


def because(error: ModelwrightError) -> str:
    """Why a model runs as code, from the error of its conversion."""
    return f"{error.what} {error.why}".strip()[:1000]


def neither(error: ModelwrightError, why: str) -> ModelwrightError:
    """The error of a model that cannot run as code either, with why it is no graph."""
    if why == ASKED:
        return error
    return type(error)(
        error.code,
        error.what,
        why=f"{error.why} It is not converted because: {why}",
        fix=error.fix,
        details=error.details,
    )
