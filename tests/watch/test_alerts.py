from modelwright.core.finding import Finding, WatchReport, Window
from modelwright.watch.alerts import alert_of


def finding(rank, severity="warning", kind="drift"):
    return Finding(kind, f"column{rank}", severity, f"column{rank} moved.", effect=0.1, rank=rank)


def report(*findings):
    return WatchReport("delay", "3", Window(0.0, 86400.0), 1000, 900, findings, ())


def test_no_finding_is_no_alert():
    assert alert_of(report(), 0.0) is None


def test_an_alert_is_as_severe_as_its_worst_finding_and_lists_all_in_words():
    alert = alert_of(report(finding(2), finding(1, "critical", "constant")), 86400.0)
    assert alert is not None
    assert (alert.severity, alert.at) == ("critical", "1970-01-02T00:00:00+00:00")
    assert alert.title == "delay version 3: 2 findings, critical"
    assert alert.body.splitlines() == [
        "In 1,000 rows, 900 with ground truth, from 1970-01-01 00:00 to 1970-01-02 00:00 UTC:",
        "- critical: column1 moved.",
        "- warning: column2 moved.",
    ]
    assert [one.rank for one in alert.findings] == [1, 2]


def test_a_long_list_is_cut_and_says_so():
    alert = alert_of(report(*(finding(rank) for rank in range(1, 31))), 0.0)
    assert alert is not None
    assert alert.body.splitlines()[-1] == "- and 20 more"
    assert len(alert.findings) == 30
