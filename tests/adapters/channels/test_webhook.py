import base64
import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from modelwright.adapters.channels import webhook
from modelwright.adapters.channels.webhook import WebhookChannel
from modelwright.core.errors import BadInputError, UnavailableError
from modelwright.testing.channel import ChannelConformance, example_alert


class Receiver:
    """A real HTTP server on loopback that answers with the statuses it was told, then 200."""

    def __init__(self, *statuses):
        self.statuses, self.requests = list(statuses), []
        receiver = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):  # a followed redirect
                self.do_POST()

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                receiver.requests.append((self.path, dict(self.headers.items()), body))
                status = receiver.statuses.pop(0) if receiver.statuses else 200
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("location", "/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://localhost:{self.server.server_port}/hook?team=a"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver():
    made = []

    def make(*statuses):
        made.append(Receiver(*statuses))
        return made[-1]

    yield make
    for one in made:
        one.close()


def channel_to(receiver, secret="", waits=None):
    return WebhookChannel(receiver.url, secret, allow_private=True, pause=([] if waits is None else waits).append)


class TestWebhookChannel(ChannelConformance):
    @pytest.fixture
    def target(self, receiver):
        return receiver()

    @pytest.fixture
    def channel(self, target):
        return channel_to(target, "secret")

    @pytest.fixture
    def received(self, target):
        return lambda: [body.decode() for _, _, body in target.requests]


def undelivered(channel):
    with pytest.raises(UnavailableError) as caught:
        channel.send(example_alert())
    assert caught.value.code == "channel.undelivered"
    return str(caught.value)


@pytest.mark.parametrize(
    ("secret", "key"), [("plain", b"plain"), ("whsec_" + base64.b64encode(b"\x00\xffkey").decode(), b"\x00\xffkey")]
)
def test_the_signature_covers_id_time_and_body(receiver, secret, key):
    target = receiver()
    channel_to(target, secret).send(example_alert())
    path, headers, body = target.requests[0]
    headers = {name.lower(): value for name, value in headers.items()}
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert path == "/hook?team=a"
    assert headers["host"] == f"localhost:{target.server.server_port}"
    assert json.loads(body)["data"]["findings"][0]["subject"] == "temp"


def test_without_a_secret_there_is_no_signature(receiver):
    target = receiver()
    channel_to(target).send(example_alert())
    assert "webhook-signature" not in {name.lower() for name in target.requests[0][1]}


def test_a_failing_receiver_is_tried_three_times_under_one_id(receiver):
    target, waits = receiver(500, 429), []
    channel_to(target, waits=waits).send(example_alert())
    assert len(target.requests) == 3
    assert waits == [1.0, 2.0]
    assert (
        len(
            {
                {name.lower(): value for name, value in headers.items()}["webhook-id"]
                for _, headers, _ in target.requests
            }
        )
        == 1
    )
    assert "status 503" in undelivered(channel_to(receiver(503, 503, 503)))


def test_a_refusal_is_final(receiver):
    target = receiver(404)
    assert "status 404" in undelivered(channel_to(target))
    assert len(target.requests) == 1


def test_redirects_are_not_followed(receiver):
    target = receiver(302)
    assert "status 302" in undelivered(channel_to(target))
    assert [path for path, _, _ in target.requests] == ["/hook?team=a"]


def test_proxies_of_the_environment_are_not_used(receiver, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    target = receiver()
    channel_to(target).send(example_alert())
    assert len(target.requests) == 1


def test_a_dead_receiver_is_undelivered():
    dead = Receiver()
    dead.close()
    assert "connection failed" in undelivered(channel_to(dead))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "[::1]",
        "[fd00::1]",
        "[::ffff:127.0.0.1]",
    ],
)
def test_private_receivers_are_refused_unless_allowed(host):
    assert "private" in undelivered(WebhookChannel(f"http://{host}:9/", pause=lambda seconds: None))


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888"])
def test_public_addresses_are_public(address):
    assert webhook._is_public(address)


@pytest.mark.parametrize("url", ["ftp://host/", "file:///etc/passwd", "host/path", "http://", "http://host:99999/", ""])
def test_what_is_not_a_web_address_is_refused_at_once(url):
    with pytest.raises(BadInputError) as caught:
        WebhookChannel(url)
    assert caught.value.code == "channel.bad-address"


def test_a_broken_secret_is_refused_at_once():
    with pytest.raises(BadInputError) as caught:
        WebhookChannel("https://example.org/", "whsec_***")
    assert caught.value.code == "channel.bad-secret"
