from pathlib import Path

import pytest

from modelwright.core.errors import UnavailableError
from modelwright.testing.channel import ChannelConformance, InMemoryChannel, example_alert
from modelwright.testing.clock import ClockConformance, ManualClock
from modelwright.testing.source import InMemorySource, SourceConformance


class TestManualClock(ClockConformance):
    @pytest.fixture
    def clock(self):
        return ManualClock()


class TestInMemoryChannel(ChannelConformance):
    @pytest.fixture
    def channel(self):
        return InMemoryChannel()

    @pytest.fixture
    def received(self, channel):
        return lambda: [f"{alert.title} {alert.body}" for alert in channel.sent]


class TestInMemorySource(SourceConformance):
    @pytest.fixture
    def source(self):
        return InMemorySource()

    @pytest.fixture
    def path(self):
        return Path("rows.parquet")


def test_a_manual_clock_moves_only_when_told_and_never_back():
    clock = ManualClock(100.0)
    clock.sleep(5.0)
    clock.advance(1.0)
    assert (clock.now(), clock.monotonic()) == (106.0, 6.0)
    with pytest.raises(ValueError, match="never goes back"):
        clock.advance(-1.0)


def test_a_channel_that_is_down_fails_as_a_real_one():
    channel = InMemoryChannel("pager")
    channel.down = True
    with pytest.raises(UnavailableError) as caught:
        channel.send(example_alert())
    assert caught.value.code == "channel.undelivered"
    assert channel.sent == []
