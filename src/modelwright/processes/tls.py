"""TLS of the listeners: who the server is, and whose client certificates it takes."""

from __future__ import annotations

import argparse
import ssl
from pathlib import Path

from modelwright.core.errors import BadInputError
from modelwright.settings import Settings

NAMES = ("tls_certificate", "tls_key", "tls_client_ca")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The three options, named like the settings."""
    parser.add_argument("--tls-certificate", help="PEM file with the server's certificate chain")
    parser.add_argument("--tls-key", help="PEM file with the certificate's private key")
    parser.add_argument("--tls-client-ca", help="PEM file: clients of the data plane need a certificate of this CA")


def options_of(settings: Settings) -> list[str]:
    """The command line that gives a child process the same TLS."""
    given = {name: getattr(settings, name) for name in NAMES}
    return [part for name, path in given.items() if path for part in (f"--{name.replace('_', '-')}", path)]


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """The data plane's TLS, 1.2 or newer; None where no certificate is set.

    Raises:
        BadInputError: ``serve.bad-tls``: only one of certificate and key, or a file that cannot be used.
    """
    certificate, key, authority = (getattr(settings, name) for name in NAMES)
    if not (certificate or key or authority):
        return None
    if not (certificate and key):
        raise BadInputError(
            "serve.bad-tls",
            "TLS needs a certificate and its key.",
            fix="Give both --tls-certificate and --tls-key (--tls-client-ca goes with them).",
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    at_fault = certificate
    try:
        context.load_cert_chain(_file(certificate), _file(key), password=_no_password)
        if authority:
            at_fault = authority
            context.load_verify_locations(_file(authority))
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        reason = getattr(error, "reason", "") or getattr(error, "strerror", "") or str(error)
        raise BadInputError(
            "serve.bad-tls",
            f"TLS cannot be set up with {error.filename or at_fault}." if isinstance(error, OSError) else str(error),
            why=f"{reason}.",
            fix="Give readable PEM files: a certificate chain, its unencrypted key, and the authority of the clients.",
        ) from error
    return context


def own_gateway_context(settings: Settings) -> ssl.SSLContext | None:
    """How to know this server's own data plane under whatever address: it shows our certificate, and no other will do.

    None where no certificate is set.
    """
    if not settings.tls_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False  # the certificate names the world's address, and the peer must be that certificate
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    own, end, _ = Path(settings.tls_certificate).read_text("ascii").partition("-----END CERTIFICATE-----")
    context.load_verify_locations(cadata=own[own.index("-----BEGIN CERTIFICATE-----") :] + end)  # not its authorities
    return context


def pem_of(settings: Settings) -> tuple[bytes, bytes, bytes | None] | None:
    """Certificate chain, key and client authority for whoever does its own TLS; None where no certificate is set.

    The files were proved by :func:`server_context` before.
    """
    if not settings.tls_certificate:
        return None
    certificate, key = Path(settings.tls_certificate).read_bytes(), Path(settings.tls_key).read_bytes()
    return certificate, key, Path(settings.tls_client_ca).read_bytes() if settings.tls_client_ca else None


def _file(path: str) -> str:
    with Path(path).open("rb"):  # OpenSSL's own message does not name the file
        return path


def _no_password() -> str:
    raise ValueError("The key is encrypted")  # else OpenSSL would ask on the terminal
