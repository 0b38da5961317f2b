# SPDX-License-Identifier: AGPL-3.0-or-later
"""The server's certificate and key, and which clients' certificates it trusts: a folder with three in it.

`own/certificate.der` and `own/key.pem` are made where they are missing. A client's certificate is trusted where it, or
that of the CA that issued it, lies in `trusted/`; another one is put into `rejected/`, from where a person may move it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: How long a certificate that is made here lasts, and how long before its end that is said; in days.
LASTS_DAYS = 3 * 365
WARNED_DAYS = 30
#: So many rejected certificates are kept at most: anybody who reaches the port can send new ones.
_MOST_REJECTED = 50
_ENDINGS = frozenset({".der", ".pem", ".crt", ".cer"})


class CertificateFolder:
    """The folder; every method reads what is there now.

    Its methods raise OSError where it cannot be read or written, and ValueError where a certificate is none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.certificate = folder / "own" / "certificate.der"
        self.key = folder / "own" / "key.pem"
        self.trusted = folder / "trusted"
        self.rejected = folder / "rejected"

    def prepare(self, name: str, host: str) -> x509.Certificate:
        """Return the server's certificate, made where it or its key is missing; `host` is where it listens."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.certificate.parent, self.trusted, self.rejected):
            folder.mkdir(mode=0o700, exist_ok=True)
        if not (self.certificate.exists() and self.key.exists()):
            self._make(name, host)
        return _loaded(self.certificate)

    def own_der(self) -> bytes:
        """Return the server's certificate as DER."""
        return _loaded(self.certificate).public_bytes(Encoding.DER)

    def _make(self, name: str, host: str) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        made = _self_signed(key, name, host)
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write_new(self.key, text)
        _write_new(self.certificate, made.public_bytes(Encoding.DER))

    def is_trusted(self, der: bytes) -> bool:
        """Whether a client's certificate, or its issuer's, is among the trusted ones."""
        client = x509.load_der_x509_certificate(der)
        return any(known == client or _has_issued(known, client) for known in self._known())

    def _known(self) -> Iterator[x509.Certificate]:
        for path in sorted(self.trusted.iterdir()):
            if path.suffix.lower() in _ENDINGS:
                with suppress(ValueError):  # somebody's file that is no certificate must not keep the others out
                    yield _loaded(path)

    def reject(self, der: bytes) -> Path | None:
        """Put a client's certificate where a person can find it; None: there are too many already."""
        path = self.rejected / f"{sha256(der).hexdigest()[:40]}.der"
        if not path.exists():
            if sum(1 for _ in self.rejected.iterdir()) >= _MOST_REJECTED:
                return None
            path.write_bytes(der)
        return path


def application_uri(certificate: x509.Certificate) -> str:
    """Return what a certificate says of whose it is.

    Raises:
        ValueError: it says nothing.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as exc:
        raise ValueError("the certificate has no application URI") from exc
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if not uris:
        raise ValueError("the certificate has no application URI")
    return uris[0]


def is_current(der: bytes, now: datetime) -> bool:
    """Whether a certificate counts at this moment.

    Raises:
        ValueError: it is none.
    """
    found = x509.load_der_x509_certificate(der)
    return found.not_valid_before_utc <= now <= found.not_valid_after_utc


def _loaded(path: Path) -> x509.Certificate:
    content = path.read_bytes()
    if content.startswith(b"-----BEGIN"):
        return x509.load_pem_x509_certificate(content)
    return x509.load_der_x509_certificate(content)


def _has_issued(issuer: x509.Certificate, client: x509.Certificate) -> bool:
    """Whether `issuer` may issue certificates, and has issued this one."""
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        client.verify_directly_issued_by(issuer)
    except (x509.ExtensionNotFound, ValueError, TypeError, InvalidSignature):
        return False
    now = datetime.now(UTC)
    return constraints.ca and issuer.not_valid_before_utc <= now <= issuer.not_valid_after_utc


def _write_new(path: Path, content: bytes) -> None:
    """Write a file that nobody else reads, in one step."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _self_signed(key: rsa.RSAPrivateKey, name: str, host: str) -> x509.Certificate:
    machine = socket.gethostname()
    holder = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"vision-line {name}"[:64])])
    names: list[x509.GeneralName] = [
        x509.UniformResourceIdentifier(f"urn:{machine}:vision-line:{name}"),
        *(x509.DNSName(dns) for dns in dict.fromkeys((machine, "localhost"))),
        *(x509.IPAddress(address) for address in _addresses(host)),
    ]
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,  # it signed itself
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder(holder, holder, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=LASTS_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256())


def _addresses(host: str) -> list[IPv4Address | IPv6Address]:
    """Return the addresses that a certificate names: the loopback's, and where the server listens if that is one."""
    listening = ip_address(host)
    return list(dict.fromkeys([ip_address("127.0.0.1"), *([] if listening.is_unspecified else [listening])]))
