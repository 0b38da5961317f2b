# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a camera is: its URL taken apart, and what a redirection may change in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from vision_line.ingest.wire.authorization import Credentials

PORTS = {"rtsp": 554, "rtsps": 322}
_SAFE_IN_PATH = "!#$%&'()*+,-./:;=?@[]_~"


@dataclass(frozen=True, slots=True)
class Address:
    """A camera's URL; `target` is its path with all that follows, ready to be sent."""

    scheme: str
    host: str
    port: int
    target: str
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def is_secure(self) -> bool:
        """Whether the connection is to be encrypted."""
        return self.scheme == "rtsps"

    @property
    def url(self) -> str:
        """The URL without name and password: what is sent, and what may be shown."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.target}"

    @property
    def credentials(self) -> Credentials | None:
        """Name and password; None where the URL has none."""
        return Credentials(self.user, self.password) if self.user or self.password else None

    def is_same_camera(self, other: Address) -> bool:
        """Whether `other` is on the same host and port and no less protected: only its path differs."""
        return (self.scheme, self.host, self.port) == (other.scheme, other.host, other.port)

    def redirected(self, other: Address) -> Address:
        """Return this address with the other's path; name and password stay our own."""
        return Address(self.scheme, self.host, self.port, other.target, self.user, self.password)


def parse_address(url: str) -> Address:
    """Take an `rtsp://` or `rtsps://` URL apart.

    Raises:
        ValueError: it is none; the message does not show it.
    """
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        raise ValueError("not a URL") from None  # the message would quote pieces of the password
    if scheme not in PORTS or not host:
        raise ValueError("not an rtsp:// or rtsps:// URL with a host")
    _, _, behind = url.partition("://")
    target = behind[len(parts.netloc) :]
    target = target if not target or target.startswith("/") else f"/{target}"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Address(scheme, host.lower(), port or PORTS[scheme], quote(target, safe=_SAFE_IN_PATH), user, password)
