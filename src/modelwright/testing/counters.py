"""What every :class:`~modelwright.ports.counters.Counters` must do; ``serve.tally.OwnCounters`` serves as the fake."""

from __future__ import annotations

from modelwright.ports.counters import Counters


class CountersConformance:
    """Subclass, and give an empty one as fixture ``counters``."""

    def test_a_key_s_slots_start_as_given_and_change_in_place(self, counters: Counters) -> None:
        """What is counted is told."""
        slots = counters.slots(("family", "label"), (1.0, 0.25))
        slots[0] += 1
        slots[-1] += 0.5
        assert list(slots) == [2.0, 0.75]
        own = counters.parts()[0]
        assert own.live
        assert {key: list(values) for key, values in own.values.items()} == {("family", "label"): [2.0, 0.75]}

    def test_keys_are_apart(self, counters: Counters) -> None:
        """Also where they share a family, or have no label."""
        for number, key in enumerate([("a",), ("a", ""), ("a", "b"), ("a", "b", "c"), ("ab",)]):
            counters.slots(key, (0.0,))[0] += number
        assert [list(values) for values in counters.parts()[0].values.values()] == [[0], [1], [2], [3], [4]]

    def test_whole_numbers_stay_exact(self, counters: Counters) -> None:
        """Up to 2**53."""
        slots = counters.slots(("many",), (float(2**53 - 2),))
        slots[0] += 1
        assert list(counters.parts()[0].values["many",]) == [2**53 - 1]
