"""A server proves who it is, and so does a client that has a certificate."""

import datetime as dt
import ipaddress
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from modelwright.client import Client
from modelwright.core.errors import BadInputError, UnavailableError

TRUTH = b'{"accepted": 1}'


def certificate(folder, name, address):
    """A self-signed certificate for an address, and its key: the paths of both."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(*form))
    return str(paths[0]), str(paths[1])


@pytest.fixture(scope="module")
def server_files(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("server"), "server", "127.0.0.1")


def context(files, client_ca=""):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*files)
    if client_ca:
        made.load_verify_locations(client_ca)
        made.verify_mode = ssl.CERT_REQUIRED
    return made


def test_a_trusted_server_is_talked_to_over_one_connection_after_the_other(script, reply, connect, server_files):
    server = script(reply(200, TRUTH), None, reply(200, TRUTH), context=context(server_files))
    client = connect(server.url, ca=server_files[0])
    assert [client.truth("m", "p", 1) for _ in range(4)] == [1] * 4


def test_a_slow_server_behind_tls_is_left_at_the_deadline(script, connect, server_files):
    from modelwright.core.errors import DeadlineError

    begun = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"
    with pytest.raises(DeadlineError):
        connect(script(begun, context=context(server_files)).url, ca=server_files[0]).truth("m", "p", 1, deadline=0.3)


def test_an_unknown_server_is_not_told_the_token(script, reply, connect, server_files):
    server = script(reply(200, TRUTH), context=context(server_files))
    with pytest.raises(UnavailableError, match="cannot be proved") as raised:
        connect(server.url, token="mw_secret").truth("m", "p", 1)
    assert raised.value.code == "client.untrusted"
    assert server.requests == []


def test_a_certificate_for_another_name_is_not_trusted(script, reply, connect, tmp_path):
    files = certificate(tmp_path, "other", "127.0.0.2")
    with pytest.raises(UnavailableError, match="not valid for") as raised:
        connect(script(reply(200, TRUTH), context=context(files)).url, ca=files[0]).truth("m", "p", 1)
    assert raised.value.code == "client.untrusted"


def test_a_client_shows_its_certificate(script, reply, connect, server_files, tmp_path):
    files = certificate(tmp_path, "client", "127.0.0.1")
    server = script(reply(200, TRUTH), context=context(server_files, client_ca=files[0]))
    assert connect(server.url, ca=server_files[0], certificate=files).truth("m", "p", 1) == 1
    with pytest.raises(UnavailableError):
        connect(server.url, ca=server_files[0]).truth("m", "p", 1)


def test_files_that_are_no_certificates_are_refused(tmp_path):
    (tmp_path / "a.pem").write_text("nothing")
    for options in ({"ca": str(tmp_path / "a.pem")}, {"ca": str(tmp_path / "none.pem")}, {"certificate": "none.pem"}):
        with pytest.raises(BadInputError) as raised:
            Client("https://127.0.0.1", **options)
        assert raised.value.code == "client.bad-certificate"
    with pytest.raises(BadInputError) as raised:
        Client("http://127.0.0.1", ca="a.pem")
    assert raised.value.code == "client.bad-url"
