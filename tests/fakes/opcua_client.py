# SPDX-License-Identifier: AGPL-3.0-or-later
"""A client of the OPC UA server with a certificate of its own."""

from __future__ import annotations

from pathlib import Path

from asyncua import Client
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

from vision_line.outputs.opcua.certificates import CertificateFolder, application_uri


async def secure_client(url: str, directory: Path, name: str, user: str, password: str) -> Client:
    """Return a client of a record directory's server, not connected yet; the server does not trust it by this."""
    own = CertificateFolder(directory / f"client-{name}")
    client = Client(url, timeout=60, watchdog_intervall=60)  # a busy machine is not away
    client.application_uri = application_uri(own.prepare(name, "127.0.0.1"))
    server = directory / "opcua" / "own" / "certificate.der"
    await client.set_security(
        SecurityPolicyBasic256Sha256, str(own.certificate), str(own.key), server_certificate=str(server)
    )
    client.set_user(user)
    client.set_password(password)
    return client


def trust(directory: Path, name: str) -> None:
    """Have the server trust a client that was made."""
    certificate = CertificateFolder(directory / f"client-{name}").certificate.read_bytes()
    (directory / "opcua" / "trusted" / f"{name}.der").write_bytes(certificate)
