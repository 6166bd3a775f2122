"""Whether a package may become a version."""

from __future__ import annotations

from modelwright.core.errors import RefusedError
from modelwright.core.verdict import Gate, Verdict


def may_register(verdict: Verdict) -> None:
    """Say nothing when every gate passed.

    Raises:
        RefusedError: ``register.refused-verdict``, naming each gate that said no with its figure and threshold.
    """
    if verdict.passed:
        return
    names = ", ".join(gate.name for gate in verdict.refusals)
    fixes = [gate.fix for gate in verdict.refusals if gate.fix]
    raise RefusedError(
        "register.refused-verdict",
        f"The package is not registered: {names} said no.",
        why=" ".join(gate.why for gate in verdict.refusals),
        fix=fixes[0] if fixes else "Train a better model, or change the gate on purpose.",
        details={"package": verdict.package_digest, "gates": [_told(gate) for gate in verdict.refusals]},
    )


def _told(gate: Gate) -> dict[str, object]:
    return {"name": gate.name, "figure": gate.figure, "threshold": gate.threshold, "why": gate.why, "fix": gate.fix}
