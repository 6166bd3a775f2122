"""What every :class:`~modelwright.ports.quota.Quota` must do; ``serve.quota.OwnQuota`` serves as the fake."""

from __future__ import annotations

import hashlib

from modelwright.ports.quota import Quota

ADA, BOB = (hashlib.sha256(name).hexdigest() for name in (b"ada", b"bob"))


class QuotaConformance:
    """Subclass, and give an empty one as fixture ``quota``."""

    def test_a_second_s_worth_may_come_at_once_and_then_the_pace_holds(self, quota: Quota) -> None:
        """Ten at once at ten per second, the next one a tenth of a second later."""
        assert [quota.take(ADA, 10.0, 100.0) for _ in range(10)] == [0.0] * 10
        assert abs(quota.take(ADA, 10.0, 100.0) - 0.1) < 1e-6
        assert quota.take(ADA, 10.0, 100.101) == 0.0
        assert quota.take(ADA, 10.0, 100.101) > 0.0

    def test_over_a_long_time_no_more_than_the_rate_is_let_through(self, quota: Quota) -> None:
        """However often is asked."""
        let = sum(quota.take(ADA, 5.0, 100.0 + tick / 100) == 0.0 for tick in range(2000))
        assert 5 * 20 <= let <= 5 * 20 + 5

    def test_a_slow_rate_lets_one_through_at_once(self, quota: Quota) -> None:
        """One in ten seconds is one now and one in ten seconds."""
        assert quota.take(ADA, 0.1, 100.0) == 0.0
        assert abs(quota.take(ADA, 0.1, 100.0) - 10.0) < 1e-3
        assert quota.take(ADA, 0.1, 110.1) == 0.0

    def test_callers_are_apart(self, quota: Quota) -> None:
        """One's use is not the other's."""
        assert quota.take(ADA, 1.0, 100.0) == 0.0
        assert quota.take(ADA, 1.0, 100.0) > 0.0
        assert quota.take(BOB, 1.0, 100.0) == 0.0

    def test_a_clock_that_started_again_blocks_nobody(self, quota: Quota) -> None:
        """What was due on the old clock is forgotten."""
        assert quota.take(ADA, 1.0, 1e6) == 0.0
        assert quota.take(ADA, 1.0, 5.0) == 0.0
