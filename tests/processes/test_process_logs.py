"""What the processes say of themselves."""

import json
import logging

from modelwright.processes.logs import JsonLines, ShortLines


def record(level=logging.INFO, **fields):
    made = logging.LogRecord("modelwright.gateway", level, __file__, 1, "table in force", (), None)
    vars(made).update(fields)
    return made


def test_a_machine_gets_one_json_object_per_event_whatever_the_fields_hold():
    line = JsonLines("gateway").format(record(epoch=3, models=["a\nb", "\x1b[31m"]))
    assert "\n" not in line
    body = json.loads(line)
    assert (body["event"], body["process"], body["epoch"]) == ("table in force", "gateway", 3)


def test_a_person_gets_a_short_line_with_what_belongs_to_the_event():
    line = ShortLines("gateway").format(record(epoch=3))
    assert line.endswith("gateway    table in force epoch=3")
    assert "WARNING" in ShortLines("gateway").format(record(logging.WARNING))


def test_a_short_line_is_one_line_and_carries_no_escape_codes():
    line = ShortLines("gateway").format(record(name_given="a\nb\x1b[31m"))
    assert "\n" not in line
    assert "\x1b" not in line
