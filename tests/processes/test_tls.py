from __future__ import annotations

import contextlib
import datetime as dt
import http.client
import ipaddress
import json
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tritonclient.grpc import service_pb2, service_pb2_grpc

from modelwright.adapters.stores.package_files import write_zip
from modelwright.core.errors import BadInputError
from modelwright.core.package import Package
from modelwright.processes.tls import options_of, own_gateway_context, server_context
from modelwright.settings import Settings, load

PATIENCE = 60.0


@dataclass(frozen=True)
class Authority:
    """A certificate authority of this test's own, and what it issued, as PEM files in a folder."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, folder: Path) -> Authority:
        folder.mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate("test authority", key, key, "test authority", authority=True)
        (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return cls(folder, key, certificate)

    @property
    def path(self) -> str:
        return str(self.folder / "ca.pem")

    def issue(self, name: str, *, password: bytes = b"") -> tuple[str, str]:
        """The paths of a certificate for 127.0.0.1 and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(name, key, self.key, "test authority", authority=False)
        secrecy = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secrecy)
        (self.folder / f"{name}.key").write_bytes(pem)
        (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return str(self.folder / f"{name}.pem"), str(self.folder / f"{name}.key")


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, issuer: str, *, authority: bool
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if not authority:
        addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(addresses), critical=False)
    return builder.sign(signer, hashes.SHA256())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("tls") / "ca")


def _settings(**given: object) -> Settings:
    return load(given, environ={})


@pytest.fixture(scope="module")
def grpc_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def served(
    authority: Authority,
    sum_package: Callable[[], Package],
    tmp_path_factory: pytest.TempPathFactory,
    grpc_port: int,
) -> Iterator[int]:
    """The port of a gateway that speaks TLS, over gRPC too, and asks for a client certificate."""
    folder = tmp_path_factory.mktemp("served")
    write_zip(sum_package(), folder / "tiny.mw")
    certificate, key = authority.issue("server")
    settings = _settings(tls_certificate=certificate, tls_key=key, tls_client_ca=authority.path)
    command = [sys.executable, "-m", "modelwright.processes.gateway", "--home", str(folder), "--http", "127.0.0.1:0"]
    command += ["--package", str(folder / "tiny.mw"), "--no-auth", *options_of(settings)]
    command += ["--grpc", f"127.0.0.1:{grpc_port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        match = re.match(r"ready https://127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert match is not None
        yield int(match[1])
        process.terminate()
        assert process.wait(PATIENCE) == 0


def _client(authority: Authority, *, certified: bool = True) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.path)
    if certified:
        context.load_cert_chain(*authority.issue("client"))
    return context


def _get(port: int, context: ssl.SSLContext, path: str = "/v2/health/ready") -> int:
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=context)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_client_with_a_certificate_of_the_authority_is_answered(served: int, authority: Authority) -> None:
    assert _get(served, _client(authority)) == 200


def test_a_client_without_a_certificate_is_refused_in_the_handshake(served: int, authority: Authority) -> None:
    with pytest.raises(OSError, match=r"certificate|closed|reset|EOF"):
        _get(served, _client(authority, certified=False))


def _handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """A TLS handshake in memory."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(back, there, server_hostname="127.0.0.2"), server.wrap_bio(there, back, server_side=True)]
    for _ in range(4):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    assert ends[0].getpeercert(binary_form=True)


def test_the_pages_know_their_own_data_plane_by_its_certificate_alone(authority: Authority) -> None:
    certificate, key = authority.issue("own")
    chain = authority.folder / "chain.pem"
    chain.write_text(Path(certificate).read_text() + Path(authority.path).read_text())
    own = _settings(tls_certificate=str(chain), tls_key=key)
    context, server = own_gateway_context(own), server_context(own)
    assert context is not None
    assert server is not None
    _handshake(context, server)
    other = server_context(
        _settings(**dict(zip(("tls_certificate", "tls_key"), authority.issue("other"), strict=True)))
    )
    assert other is not None
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(context, other)
    assert own_gateway_context(_settings()) is None


def test_a_client_of_another_authority_is_refused(served: int, authority: Authority, tmp_path: Path) -> None:
    context = ssl.create_default_context(cafile=authority.path)
    context.load_cert_chain(*Authority.make(tmp_path / "other").issue("stranger"))
    with pytest.raises(OSError, match=r"unknown ca|certificate|closed|reset|EOF"):
        _get(served, context)


def test_grpc_takes_the_same_certificates(served: int, grpc_port: int, authority: Authority) -> None:
    assert served
    certificate, key = authority.issue("grpc-client")
    root = Path(authority.path).read_bytes()
    for credentials, answered in (
        (grpc.ssl_channel_credentials(root, Path(key).read_bytes(), Path(certificate).read_bytes()), True),
        (grpc.ssl_channel_credentials(root), False),
    ):
        with grpc.secure_channel(f"127.0.0.1:{grpc_port}", credentials) as channel:
            live = service_pb2_grpc.GRPCInferenceServiceStub(channel).ServerLive
            if answered:
                assert live(service_pb2.ServerLiveRequest(), timeout=PATIENCE).live
                continue
            with pytest.raises(grpc.RpcError) as caught:
                live(service_pb2.ServerLiveRequest(), timeout=PATIENCE)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_tls_older_than_one_point_two_is_refused(served: int, authority: Authority) -> None:
    context = _client(authority)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError, match=r"alert protocol version|closed|reset|EOF"):
        _get(served, context)


def test_plain_text_on_the_encrypted_port_is_not_answered(served: int, authority: Authority) -> None:
    with socket.create_connection(("127.0.0.1", served), timeout=PATIENCE) as caller:
        caller.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"HTTP" not in caller.recv(1024)
    assert _get(served, _client(authority)) == 200


def test_a_refused_body_still_gets_its_answer_under_tls(served: int, authority: Authority) -> None:
    with (
        socket.create_connection(("127.0.0.1", served), timeout=PATIENCE) as plain,
        _client(authority).wrap_socket(plain, server_hostname="127.0.0.1") as caller,
    ):
        caller.sendall(
            b"POST /v2/models/total/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"
        )
        caller.sendall(b"x" * 1000)
        answer = caller.recv(4096)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]).keys() == {"error"}


def test_no_certificate_means_no_tls() -> None:
    assert server_context(_settings()) is None


def test_a_certificate_without_its_key_or_an_authority_alone_is_an_error(authority: Authority) -> None:
    certificate, key = authority.issue("half")
    for given in ({"tls_certificate": certificate}, {"tls_key": key}, {"tls_client_ca": authority.path}):
        with pytest.raises(BadInputError, match="needs a certificate and its key") as caught:
            server_context(_settings(**given))
        assert caught.value.code == "serve.bad-tls"


def test_files_that_cannot_be_used_are_named(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("whole")
    (tmp_path / "rubbish.pem").write_text("not a certificate")
    for name in ("tls_certificate", "tls_key", "tls_client_ca"):
        given = {"tls_certificate": certificate, "tls_key": key, "tls_client_ca": authority.path}
        with pytest.raises(BadInputError, match=r"absent\.pem") as caught:
            server_context(_settings(**{**given, name: str(tmp_path / "absent.pem")}))
        assert caught.value.code == "serve.bad-tls"
        with pytest.raises(BadInputError, match=r"\.pem") as caught:
            server_context(_settings(**{**given, name: str(tmp_path / "rubbish.pem")}))
        assert caught.value.code == "serve.bad-tls"


def test_an_encrypted_key_is_refused_and_asks_nobody_for_a_password(authority: Authority) -> None:
    certificate, key = authority.issue("locked", password=b"secret")
    with pytest.raises(BadInputError, match="encrypted"):
        server_context(_settings(tls_certificate=certificate, tls_key=key))


def test_with_tls_a_server_may_listen_where_others_reach_it_and_its_pages_are_encrypted(
    authority: Authority, tmp_path: Path
) -> None:
    certificate, key = authority.issue("whole-server")
    options = options_of(_settings(tls_certificate=certificate, tls_key=key))
    command = [sys.executable, "-m", "modelwright.processes.supervisor", "--home", str(tmp_path / "home")]
    command += ["--http", "0.0.0.0:0", "--control", "0.0.0.0:0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            said += process.stdout.readline()
            assert process.poll() is None
        assert said.count("https://") == 2
        facts = json.loads((tmp_path / "home" / "run" / "server.json").read_text())
        context = ssl.create_default_context(cafile=authority.path)
        assert _get(int(facts["http"].rpartition(":")[2]), context, "/v2/health/live") == 200
        assert _get(int(facts["control"].rpartition(":")[2]), context, "/login") in {200, 400, 403, 421}
        process.terminate()
        assert process.wait(PATIENCE) == 0


def _serial(port: int, context: ssl.SSLContext) -> int:
    """The serial number of the certificate that a listener shows."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as caller,
    ):
        shown = caller.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number


def test_a_reload_takes_a_renewed_certificate_and_none_that_cannot_be_used(
    authority: Authority, tmp_path: Path
) -> None:
    certificate, key = authority.issue("renewed")
    command = [sys.executable, "-m", "modelwright", "--home", str(tmp_path / "home")]
    serve = ["serve", "--workers", "2", "--http", "127.0.0.1:0", "--control", "127.0.0.1:0"]
    serve += options_of(_settings(tls_certificate=certificate, tls_key=key))
    with subprocess.Popen([*command, *serve], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        while "Ctrl-C" not in process.stdout.readline():
            assert process.poll() is None
        facts = json.loads((tmp_path / "home" / "run" / "server.json").read_text())
        ports = [int(facts[plane].rpartition(":")[2]) for plane in ("http", "control")]
        context = ssl.create_default_context(cafile=authority.path)
        before = {_serial(port, context) for port in ports}
        authority.issue("renewed")
        assert subprocess.run([*command, "reload"], check=False, timeout=PATIENCE).returncode == 0
        after = {_serial(port, context) for port in [*ports, *ports[:1] * 10]}
        assert len(before) == len(after) == 1
        assert before != after

        Path(certificate).write_text("not a certificate")
        refused = subprocess.run([*command, "reload"], check=False, timeout=PATIENCE, capture_output=True, text=True)
        assert refused.returncode == 5
        assert "renewed.pem" in refused.stderr
        assert {_serial(port, context) for port in ports} == after
        process.terminate()
        assert process.wait(PATIENCE) == 0
