"""How often each caller may ask: one allowance for all processes that serve the same data plane."""

from __future__ import annotations

from typing import Protocol

BURST_SECONDS = 1.0
"""What was not used for so long may be used at once; one request always may."""


class Quota(Protocol):
    """Counts uses against rates."""

    def take(self, key: str, rate: float, now: float) -> float:
        """Count one use and return 0, or count nothing and return the seconds until there is room for it.

        Args:
            key: whose use; hexadecimal, at least 16 digits (a digest).
            rate: uses per second, more than 0.
            now: seconds of a clock that every process shares and that never goes back (``time.monotonic``).
        """
        ...


def take_turn(due: float, rate: float, now: float) -> tuple[float, float]:
    """When the next use would be due at an even pace, and the seconds to wait (0: this use is counted).

    The generic cell rate algorithm (ITU-T I.371): uses may run ahead of the even pace by :data:`BURST_SECONDS`.

    Args:
        due: what the use before it gave; 0 at first.
        rate: uses per second.
        now: seconds.
    """
    gap = 1.0 / rate
    ahead = max(BURST_SECONDS, gap)
    if due - now > ahead + gap:  # from before the machine, and with it the clock, started again
        due = now
    following = max(due, now) + gap
    wait = following - now - ahead
    return (following, 0.0) if wait <= gap * 1e-6 else (due, wait)
