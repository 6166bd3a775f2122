from __future__ import annotations

import socket

import pytest

from modelwright.core.errors import BadInputError, ConflictError, RefusedError
from modelwright.processes.listening import is_loopback, listen, spoken


def test_port_zero_gives_a_free_port_that_takes_connections() -> None:
    with listen("127.0.0.1:0", name="http") as listener:
        host, port = spoken(listener).split(":")
        with socket.create_connection((host, int(port))):
            pass


def test_a_taken_port_names_the_setting_to_change() -> None:
    with listen("127.0.0.1:0", name="http") as listener, pytest.raises(ConflictError, match="--control") as caught:
        listen(spoken(listener), name="control")
    assert caught.value.code == "serve.port-taken"


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "10.1.2.3:0", "mill.example:0"])
def test_an_address_that_others_can_reach_is_refused(address: str) -> None:
    with pytest.raises(RefusedError, match="--i-know") as caught:
        listen(address, name="http")
    assert caught.value.code == "serve.refused-bind"


def test_who_knows_may_listen_everywhere() -> None:
    with listen("0.0.0.0:0", name="http", insecure=True) as listener:
        assert spoken(listener).startswith("0.0.0.0:")


def test_an_unknown_host_is_named() -> None:
    with pytest.raises(BadInputError, match="host"):
        listen("no-such-host.invalid:0", name="http", insecure=True)


def test_loopback_is_more_than_one_address() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.1.2.3", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "example.org", "")))
