# SPDX-License-Identifier: AGPL-3.0-or-later
"""An address to listen on, as the configuration has it: `127.0.0.1:9108`, `[::1]:9108`, `localhost:9108`."""

from __future__ import annotations

import re
import socket
from ipaddress import ip_address
from typing import NamedTuple

_PARTS = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<v4>[^:\[\]]+)):(?P<port>[0-9]{1,5})", re.ASCII)
_EXPECTED = "expected an IP address and a port, such as 127.0.0.1:9108 or [::1]:9108"


class ListenAddress(NamedTuple):
    """An IP address of this machine, or of all its networks (0.0.0.0, ::), and a TCP port."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this machine reach it."""
        return ip_address(self.host).is_loopback

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_listen(text: str) -> ListenAddress:
    """Return what `text` says. Names are not looked up: what they mean may change, and looking may take for ever.

    Raises:
        ValueError: it is no such address; says what was found and expected.
    """
    parts = _PARTS.fullmatch(text)
    if parts is None:
        raise ValueError(f"found {text!r}, {_EXPECTED}")
    host, port = parts["v6"] or parts["v4"], int(parts["port"])
    if host == "localhost":
        host = "127.0.0.1"
    if not _is_address(host, version=6 if parts["v6"] else 4):
        raise ValueError(f"found {text!r}, {_EXPECTED}")
    if not 1 <= port <= 65535:
        raise ValueError(f"found port {port}, expected 1 to 65535")
    return ListenAddress(host, port)


def bind_problem(address: ListenAddress) -> str:
    """Return why no program could listen there now, "" where one could."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as exc:
        return f"cannot listen on {address.host} port {address.port}: {exc.strerror or exc}"
    return ""


def _is_address(host: str, version: int) -> bool:
    try:
        return ip_address(host).version == version
    except ValueError:
        return False
