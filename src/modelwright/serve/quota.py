"""The allowance of a data plane that is one process."""

from __future__ import annotations

from modelwright.ports.quota import take_turn


class OwnQuota:
    """A :class:`~modelwright.ports.quota.Quota` in memory; holds one number for each key that ever had a rate."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}

    def take(self, key: str, rate: float, now: float) -> float:
        """Count one use, or say how long to wait."""
        self._due[key], wait = take_turn(self._due.get(key, 0.0), rate, now)
        return wait
