# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether the server could start here, or runs already and answers a client."""

from __future__ import annotations

import asyncio
from pathlib import Path

from asyncua import Client, ua

from vision_line.config.output_settings import OpcUaOutput
from vision_line.outputs.message_sink import SinkError, SinkTrouble
from vision_line.outputs.opcua.certificates import CertificateFolder
from vision_line.outputs.opcua.opcua_sink import FOLDER, PATH, check_free

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  where to reach what listens everywhere


async def probe_server(settings: OpcUaOutput, directory: Path) -> None:
    """Try the port; where something listens, ask it for its endpoints, and compare the certificate with ours.

    Raises:
        SinkError: the port cannot be used, or it is another program's.
    """
    address = settings.address
    try:
        check_free(address)
    except SinkError as busy:
        folder = CertificateFolder(Path(settings.certificates or directory / FOLDER))
        host = _ANYWHERE.get(address.host, address.host)
        url = f"opc.tcp://{address._replace(host=host)}{PATH}"
        try:
            own = await asyncio.to_thread(folder.own_der)
        except FileNotFoundError:
            raise busy from None
        except (OSError, ValueError) as exc:
            raise SinkError(SinkTrouble.FAILED, f"{busy}; and our certificate cannot be read: {exc}") from exc
        if own not in await _offered(url, settings.timeout_s, busy):
            raise SinkError(SinkTrouble.REFUSED, f"{url} is served by another program") from busy


async def _offered(url: str, timeout_s: float, busy: SinkError) -> set[bytes]:
    """Return the certificates that a server offers."""
    client = Client(url, timeout=timeout_s)
    try:
        async with asyncio.timeout(timeout_s):
            endpoints = await client.connect_and_get_server_endpoints()
    except (OSError, TimeoutError, ua.UaError) as exc:
        raise SinkError(SinkTrouble.UNREACHABLE, f"{busy}; and it does not answer as a server: {exc}") from exc
    return {endpoint.ServerCertificate for endpoint in endpoints if endpoint.ServerCertificate}
