"""A channel that keeps what it is sent, and what every channel must do."""

from __future__ import annotations

from modelwright.core.errors import UnavailableError
from modelwright.core.finding import Alert, Finding
from modelwright.ports.channel import Channel


class InMemoryChannel:
    """Keeps alerts in ``sent``; while ``down`` is true it fails as a real channel does."""

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.sent: list[Alert] = []
        self.down = False

    def send(self, alert: Alert) -> None:
        """Keep the alert, or raise UnavailableError (``channel.undelivered``)."""
        if self.down:
            raise UnavailableError("channel.undelivered", f"Channel {self.name} is down.")
        self.sent.append(alert)


def example_alert() -> Alert:
    """An alert with every kind of character and figure a channel must carry."""
    finding = Finding(
        kind="drift",
        subject="temp",
        severity="warning",
        says="temp is lower: 36 °F -> 27 °F, “café”\n(second line)",
        effect=0.4,
        p_value=1e-9,
        q_value=1e-8,
        rank=1,
        evidence={"mean_before": 36.0, "tests": {"shape": {"p_value": 1e-9}}},
    )
    return Alert(
        "flight-delay", "warning", "flight-delay: 1 finding", finding.says, "2013-02-01T00:00:00+00:00", (finding,)
    )


class ChannelConformance:
    """Subclass, and give fixtures ``channel`` (one that reaches its receiver) and ``received``.

    ``received`` is a callable without arguments that gives the texts the receiver got, oldest first.
    """

    def test_it_has_a_name(self, channel: Channel) -> None:
        """Reports say which channel failed."""
        assert channel.name

    def test_the_receiver_gets_title_and_model(self, channel: Channel, received: object) -> None:
        """What was sent arrives."""
        assert callable(received)
        channel.send(example_alert())
        texts = received()
        assert len(texts) == 1
        assert "flight-delay: 1 finding" in texts[0]

    def test_an_alert_without_findings_is_delivered_too(self, channel: Channel, received: object) -> None:
        """Some alerts are about no finding."""
        assert callable(received)
        channel.send(Alert("m", "critical", "m is down", "It does not answer.", "2013-02-01T00:00:00+00:00"))
        assert "m is down" in received()[0]
