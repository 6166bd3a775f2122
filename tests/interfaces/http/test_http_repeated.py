"""A head that was parsed before is taken as the parser would have taken it."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from modelwright import settings
from modelwright.interfaces.http.connection import MAX_MISSES, Connection
from modelwright.interfaces.http.repeated import remember


class Wire:
    """A transport that notes that it was closed."""

    def __init__(self):
        self.closed = False

    def get_extra_info(self, _name):
        return ("127.0.0.1", 1)

    def write(self, _data):
        pass

    def can_write_eof(self):
        return True

    def is_closing(self):
        return self.closed

    def abort(self):
        self.closed = True

    close = write_eof = pause_reading = resume_reading = abort


class Taken:
    """A server that notes what its connections hand over, and counts nobody."""

    limits = settings.load({"max_body_bytes": 1000}, {})
    draining = False

    def __init__(self):
        self.requests, self.refusals = [], []

    def enter(self, _connection):
        pass

    def handle(self, _connection, request, line):
        headers = {name: value for name, value in request.headers.items() if name != b"content-length"}
        self.requests.append((request.method, request.target, headers, request.body, line))

    def refuse(self, _connection, error):
        self.refusals.append(error.code)

    def send_bytes(self, _connection, data, *, close=False):
        self.requests.append((data, close))

    def told(self, pieces, *, forgetful):
        connection = Connection(self, self)
        connection._misses = MAX_MISSES if forgetful else 0
        connection.connection_made(Wire())
        for piece in pieces:
            connection.data_received(piece)
        return SimpleNamespace(requests=self.requests, refusals=self.refusals, connection=connection)


def request_of(body=b"{}", target=b"/v2/models/m/infer", length=None, more=b"", name=b"Content-Length"):
    length = str(len(body)).encode() if length is None else length
    return b"POST %b HTTP/1.1\r\nHost: a\r\n%b%b: %b\r\nX: y\r\n\r\n%b" % (target, more, name, length, body)


plain = st.builds(request_of, st.binary(max_size=40), st.sampled_from([b"/a", b"/b"]))
odd = st.builds(
    request_of,
    st.binary(max_size=40),
    length=st.sampled_from(
        [b"", b"0", b"00", b"3", b"+3", b"3 ", b" 3", b"3, 3", b"1e1", b"0x3", b"99999999999", b"-1"]
    ),
    more=st.sampled_from(
        [
            b"",
            b"Content-Length: 3\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Expect: 100-continue\r\n",
            b"Connection: close\r\n",
        ]
    ),
    name=st.sampled_from([b"Content-Length", b"content-length", b"Content-Length ", b"CONTENT-LENGTH"]),
)


def cut(data, at):
    """A request in two pieces."""
    return [data[: at % (len(data) + 1)], data[at % (len(data) + 1) :]]


streams = st.lists(
    st.one_of(
        plain.map(lambda data: [data]),
        plain.map(lambda data: [data]),
        odd.map(lambda data: [data]),
        st.tuples(plain, plain).map(lambda two: [two[0] + two[1]]),
        st.builds(cut, plain, st.integers(0, 200)),
        st.binary(max_size=30).map(lambda data: [data]),
    ),
    max_size=8,
).map(lambda parts: [piece for part in parts for piece in part if piece])


@given(streams)
def test_a_connection_that_remembers_takes_what_one_that_does_not_takes(pieces):
    remembering, forgetful = Taken().told(pieces, forgetful=False), Taken().told(pieces, forgetful=True)
    assert remembering.requests == forgetful.requests
    assert remembering.refusals == forgetful.refusals
    assert remembering.connection.busy == forgetful.connection.busy


def test_the_third_of_three_like_requests_is_not_parsed_again():
    taken = Taken().told([request_of(b"1"), request_of(b"22"), request_of(b"333")], forgetful=False)
    assert [request[3] for request in taken.requests] == [b"1", b"22", b"333"]
    assert taken.requests[2][2] == taken.requests[1][2]
    assert taken.connection._head.body(request_of(b"4444"), 1000) == b"4444"


def test_a_client_that_never_repeats_itself_is_no_longer_remembered():
    heads = [request_of(more=b"traceparent: %d\r\n" % number) for number in range(MAX_MISSES + 5)]
    taken = Taken().told(heads, forgetful=False)
    assert taken.connection._head.behind.endswith(b"\r\n\r\n")
    assert b"traceparent: %d\r\n" % (MAX_MISSES + 4) not in taken.connection._head.before


def test_a_body_over_the_limit_goes_to_the_parser_which_refuses_it():
    taken = Taken().told([request_of(), request_of(), request_of(b"x" * 2000)], forgetful=False)
    assert taken.refusals == ["http.body-too-large"]


@given(odd)
def test_a_head_whose_body_is_not_told_by_one_plain_length_is_not_remembered(data):
    head = remember(data, b"POST", b"/", {b"host": b"a"})
    if head is not None:
        assert head.body(data, 1000) is not None
