"""A clock that moves when told to, and what every clock must do."""

from __future__ import annotations

from modelwright.ports.clock import Clock


class ManualClock:
    """Starts at ``now`` (Unix seconds); ``sleep`` and ``advance`` move it at once."""

    def __init__(self, now: float = 1_356_998_400.0) -> None:
        self._now, self._monotonic = now, 0.0

    def now(self) -> float:
        """Unix seconds (UTC)."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since it was made."""
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        """Move on by that much without waiting."""
        self.advance(max(0.0, seconds))

    def advance(self, seconds: float) -> None:
        """Move on; time never goes back.

        Raises:
            ValueError: negative seconds.
        """
        if seconds < 0:
            raise ValueError("time never goes back")
        self._now += seconds
        self._monotonic += seconds


class ClockConformance:
    """Subclass, and give the clock as fixture ``clock``."""

    def test_wall_time_is_in_seconds_since_1970(self, clock: Clock) -> None:
        """Seconds, not milliseconds."""
        assert 1e9 < clock.now() < 1e11

    def test_monotonic_time_never_goes_back(self, clock: Clock) -> None:
        """Two readings are in order."""
        assert clock.monotonic() <= clock.monotonic()

    def test_sleeping_moves_both_times_on(self, clock: Clock) -> None:
        """At least by what was asked for (to the clocks' resolution)."""
        wall, steady = clock.now(), clock.monotonic()
        clock.sleep(0.01)
        assert clock.monotonic() - steady >= 0.0099
        assert clock.now() > wall

    def test_sleeping_for_no_time_returns(self, clock: Clock) -> None:
        """Zero is a time to sleep."""
        clock.sleep(0.0)
