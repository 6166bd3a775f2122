from __future__ import annotations

import socket

import pytest

from modelwright.core.errors import BadInputError, ConflictError, RefusedError
from modelwright.processes.listening import is_loopback, listen, listen_together, reserve, spoken


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


def test_sockets_that_listen_together_share_one_free_port_and_all_take_connections() -> None:
    listeners = listen_together("127.0.0.1:0", 3, name="http")
    place = listeners[0].getsockname()
    assert {listener.getsockname() for listener in listeners} == {place}
    clients = [socket.create_connection(place) for _ in range(60)]
    for listener in listeners:
        listener.settimeout(5)
        listener.accept()[0].close()
    for each in (*clients, *listeners):
        each.close()


@pytest.mark.parametrize("count", [1, 2])
def test_an_address_that_another_server_shares_among_its_own_is_taken(count: int) -> None:
    listeners = listen_together("127.0.0.1:0", 2, name="http")
    with pytest.raises(ConflictError, match="taken"):
        listen_together(spoken(listeners[0]), count, name="http")
    for listener in listeners:
        listener.close()


def test_a_reserved_address_is_kept_for_listeners_that_share_it_and_takes_no_connection() -> None:
    with reserve("127.0.0.1:0", name="grpc") as reserved:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(reserved.getsockname())
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(reserved.getsockname())
            listener.listen()
            with socket.create_connection(reserved.getsockname()):
                listener.accept()[0].close()
