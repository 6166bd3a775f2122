"""Several calls that are answered together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from modelwright.core.errors import InternalError, ModelwrightError
from modelwright.serve.call import Answer, PredictCall

Outcome = Answer | ModelwrightError
_PENDING = InternalError("serve.internal", "The request has no outcome yet.")


def submit_all(
    calls: Sequence[PredictCall],
    submit: Callable[[PredictCall, Callable[[Outcome], object]], object],
    done: Callable[[Sequence[Outcome]], object],
) -> None:
    """Submit several calls (at least one); ``done`` gets the outcome of each, in their order, with the last one.

    A call that ``submit`` refuses has that error for its outcome.
    """
    outcomes: list[Outcome] = [_PENDING] * len(calls)
    left = len(calls)

    def settle(index: int, outcome: Outcome) -> None:
        nonlocal left
        outcomes[index] = outcome
        left -= 1
        if not left:
            done(outcomes)

    for index, call in enumerate(calls):
        try:
            submit(call, partial(settle, index))
        except ModelwrightError as error:
            settle(index, error)
