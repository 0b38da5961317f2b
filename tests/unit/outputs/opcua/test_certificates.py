# SPDX-License-Identifier: AGPL-3.0-or-later
"""The server's own certificate, and which clients' it trusts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from vision_line.outputs.opcua import certificates
from vision_line.outputs.opcua.certificates import CertificateFolder, application_uri, is_current


def issued(issuer: rsa.RSAPrivateKey, subject: str, *, by: str, key: rsa.RSAPrivateKey, ca: bool) -> x509.Certificate:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(named(by), named(subject), key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    basic = x509.BasicConstraints(ca=ca, path_length=None)
    return builder.add_extension(basic, critical=True).sign(issuer, hashes.SHA256())


def test_it_is_made_once_and_its_key_is_nobody_elses(tmp_path: Path) -> None:
    """A restart finds the same; one without its key is made anew."""
    folder = CertificateFolder(tmp_path / "opcua")
    first = folder.prepare("scada", "::")
    again = folder.prepare("scada", "::")
    folder.key.unlink()
    third = folder.prepare("scada", "::")

    assert first == again
    assert third != first
    assert folder.key.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "opcua").stat().st_mode & 0o777 == 0o700
    assert application_uri(first).endswith(":vision-line:scada")
    assert is_current(folder.own_der(), datetime.now(UTC))
    assert not is_current(folder.own_der(), datetime.now(UTC) + timedelta(days=certificates.LASTS_DAYS + 1))


def test_who_is_trusted(tmp_path: Path) -> None:
    """Who lies in `trusted`, and whom a CA there has issued; not whom another client there has."""
    folder = CertificateFolder(tmp_path)
    folder.prepare("scada", "127.0.0.1")
    ca, other = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    ca_certificate = issued(ca, "ca", by="ca", key=ca, ca=True)
    no_ca = issued(other, "client", by="client", key=other, ca=False)
    of_ca = issued(ca, "x", by="ca", key=other, ca=False).public_bytes(Encoding.DER)
    of_client = issued(other, "y", by="client", key=ca, ca=False).public_bytes(Encoding.DER)
    (folder.trusted / "readme.pem").write_text("no certificate", encoding="utf-8")
    before = folder.is_trusted(of_ca)
    (folder.trusted / "ca.pem").write_bytes(ca_certificate.public_bytes(Encoding.PEM))
    (folder.trusted / "client.der").write_bytes(no_ca.public_bytes(Encoding.DER))

    assert not before
    assert folder.is_trusted(of_ca)
    assert folder.is_trusted(no_ca.public_bytes(Encoding.DER))
    assert not folder.is_trusted(of_client)


def test_rejected_ones_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reaches the port could fill the disk."""
    monkeypatch.setattr(certificates, "_MOST_REJECTED", 2)
    folder = CertificateFolder(tmp_path)
    folder.prepare("scada", "127.0.0.1")
    found = [folder.reject(bytes([number])) for number in (1, 2, 1, 3)]

    assert [path is not None for path in found] == [True, True, True, False]
    assert len(list(folder.rejected.iterdir())) == 2
