import json
import logging

import pytest

from modelwright.adapters.channels.log import LogChannel
from modelwright.testing.channel import ChannelConformance, example_alert


class TestLogChannel(ChannelConformance):
    @pytest.fixture
    def channel(self):
        return LogChannel()

    @pytest.fixture
    def received(self, caplog):
        caplog.set_level(logging.INFO, logger="modelwright.alerts")
        return lambda: [record.getMessage() for record in caplog.records]


def test_an_alert_is_one_json_line_at_its_severity(caplog):
    LogChannel().send(example_alert())
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    line = json.loads(record.getMessage())
    assert "\n" not in record.getMessage()
    assert (line["event"], line["model"], line["findings"][0]["kind"]) == ("alert", "flight-delay", "drift")
