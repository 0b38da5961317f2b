# SPDX-License-Identifier: AGPL-3.0-or-later
"""The desk's socket."""

from __future__ import annotations

import socket

import pytest
from tests.fakes.ports import free_port

from vision_line.config.listen import ListenAddress
from vision_line.desk.web_server import bound_socket
from vision_line.errors import RunError


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_answers_are_sent_at_once(host: str) -> None:
    """Asyncio sets TCP_NODELAY on what it accepts only where the listening socket names its protocol."""
    with bound_socket(ListenAddress(host, free_port())) as held:
        assert held.proto == socket.IPPROTO_TCP


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(RunError, match=r"--listen 192\.0\.2\.1:8080: cannot listen"):
        bound_socket(ListenAddress("192.0.2.1", 8080))
