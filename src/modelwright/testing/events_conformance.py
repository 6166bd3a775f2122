"""What every :class:`~modelwright.ports.events.EventSink` must do."""

from __future__ import annotations

from collections.abc import Callable

from modelwright.core.request_event import RequestEvent, StageSeconds
from modelwright.core.trace_context import begun
from modelwright.ports.events import EventSink

BOUND = 50


def example_event(number: int = 0) -> RequestEvent:
    """A prediction's event with everything that one may hold; ``number`` is in its prediction id."""
    stages = StageSeconds(1e-5, 2e-5, 3e-4, 4e-5)
    told = ("", 120, 240, "board", "flight-delay", "3", "champion", 2, 4, f"p{number}", stages, begun())
    return RequestEvent(1_700_000_000.0, "http", "POST", "/v2/models/{model}/infer", 200, 0.0005, *told)


class EventSinkConformance:
    """Subclass, and give fixtures ``make_sink`` and ``delivered``.

    ``make_sink(bound)`` gives a sink in which that many events may wait; ``delivered()`` the prediction ids that came
    out at the other end, in their order.
    """

    def test_what_was_put_is_delivered_in_order_by_the_close(
        self, make_sink: Callable[[int], EventSink], delivered: Callable[[], list[str]]
    ) -> None:
        """Nothing is lost at an orderly end."""
        sink = make_sink(10_000)
        for number in range(1500):
            sink.put(example_event(number))
        sink.close()
        assert delivered() == [f"p{number}" for number in range(1500)]
        assert sink.dropped == 0

    def test_what_is_too_much_is_dropped_and_counted(
        self, make_sink: Callable[[int], EventSink], delivered: Callable[[], list[str]]
    ) -> None:
        """And whoever puts it never waits."""
        sink = make_sink(BOUND)
        for number in range(100_000):
            sink.put(example_event(0) if number == 0 else _SAME)
        sink.close()
        assert sink.dropped > 0
        assert len(delivered()) + sink.dropped == 100_000

    def test_what_is_put_after_the_close_is_dropped(self, make_sink: Callable[[int], EventSink]) -> None:
        """A straggler fails nobody."""
        sink = make_sink(BOUND)
        sink.close()
        sink.put(example_event())
        assert sink.dropped == 1


_SAME = example_event(1)
