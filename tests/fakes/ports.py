# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ports for servers that are told their port, as a server is whose camera must be there again after it was killed."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

#: Below those that Linux gives to outgoing connections (from 32768): tests beside this one cannot get it meanwhile.
_PORTS = range(20_000, 32_000)
_DRAW = random.SystemRandom()  # two test processes must not draw alike


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free a moment ago."""
    while True:
        port = _DRAW.choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
