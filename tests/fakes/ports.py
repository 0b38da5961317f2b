# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ports for servers that are told their port, as a server is whose camera must be there again after it was killed."""

from __future__ import annotations

import os
import random
import socket
from collections import deque
from contextlib import suppress

#: Test processes that run at the same time, of which each draws from ports of its own.
_PROCESSES = 4
_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES
#: Below those that Linux gives to outgoing connections (from 32768): tests beside this one cannot get it meanwhile.
_PORTS = range(20_000 + _PROCESS, 32_000, _PROCESSES)
_DRAW = random.SystemRandom()  # a benchmark beside the tests must not draw alike
#: Given a moment ago, and perhaps not listened at yet: two servers of one test were given the same one.
_GIVEN: deque[int] = deque(maxlen=500)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free a moment ago, and is not given again soon."""
    while True:
        port = _DRAW.choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _GIVEN:
                _GIVEN.append(port)
                return port
