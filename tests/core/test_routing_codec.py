import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core import routing_codec
from modelwright.core.errors import CorruptError
from modelwright.core.version import Arm, Route, RoutingTable, TokenGrant
from modelwright.testing.errors import error_code

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ARMS = st.builds(Arm, TEXT, TEXT, st.floats(0, 1), st.sampled_from(["champion", "canary", "shadow"]))
ROUTES = st.builds(Route, TEXT, st.lists(ARMS, max_size=3).map(tuple), st.lists(ARMS, max_size=2).map(tuple))
TABLES = st.builds(
    RoutingTable,
    st.integers(0, 2**53),
    st.dictionaries(TEXT, ROUTES, max_size=3),
    st.lists(st.builds(TokenGrant, TEXT, TEXT, TEXT, st.floats(0, 1e12)), max_size=3).map(tuple),
    st.booleans(),
)


@given(TABLES)
def test_a_table_comes_back_as_it_was(table):
    assert routing_codec.decode(routing_codec.encode(table)) == table


@given(TABLES, st.binary(max_size=40), st.integers(0, 400))
def test_damaged_bytes_are_corrupt_or_another_table_but_never_a_crash(table, garbage, at):
    content = routing_codec.encode(table)
    for damaged in (content[:at], content[:at] + garbage + content[at:], garbage):
        assert error_code(routing_codec.decode, damaged) in {"", "deploy.routing-corrupt"}


def test_a_table_of_another_format_is_not_guessed_at():
    newer = routing_codec.encode(RoutingTable(1)).replace(b'"format_version":1', b'"format_version":2')
    with pytest.raises(CorruptError, match="routing table"):
        routing_codec.decode(newer)
