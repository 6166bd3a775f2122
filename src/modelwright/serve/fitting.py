"""A request as an arm takes it: checked against its signature and its policy of values."""

from __future__ import annotations

import time

from modelwright.core.errors import BadInputError
from modelwright.serve.call import PredictCall
from modelwright.serve.lane import Done, Ticket
from modelwright.serve.route import LiveArm


def ticket_of(arm: LiveArm, call: PredictCall, done: Done) -> Ticket:
    """The call as this arm takes it.

    Raises:
        BadInputError: it does not fit the arm's signature, or its policy refuses a value.
    """
    arrived, loaded = time.perf_counter(), arm.loaded
    for name in call.outputs or ():
        if loaded.signature.output(name) is None:
            raise BadInputError(
                "serve.unknown-output",
                f"Model {call.model!r} has no output {name[:100]!r}.",
                fix=f"It gives {', '.join(spec.name for spec in loaded.signature.outputs)}.",
            )
    check, policy = loaded.check, loaded.policy
    feeds, rows = check.check(call.inputs, call.nulls)
    if policy.checks_finite and not call.finite:
        policy.require_finite(feeds)
    layout = check.layout(feeds)
    if not policy.checks_values:
        return Ticket(arm, call, feeds, rows, done, layout, call.limit, call.actor, arrived=arrived)
    given, warnings = policy.judge(feeds)
    return Ticket(arm, call, given, rows, done, layout, call.limit, call.actor, feeds, warnings, arrived=arrived)
