# SPDX-License-Identifier: AGPL-3.0-or-later
"""How browsers reach the desk: an address of this machine alone, TLS, or a proxy that says who asks."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.requests import HTTPConnection

from vision_line.config.listen import ListenAddress
from vision_line.desk.guard import allowed_hosts

#: What the proxy sends with each request: who asks, and that it is the proxy.
USER_HEADER, SECRET_HEADER = "X-Forwarded-User", "X-Desk-Secret"


@dataclass(slots=True)
class TrustedProxy:
    """Who may say in a header who asks: from these networks, with this secret, which may change."""

    networks: tuple[IPv4Network | IPv6Network, ...]
    secret: bytes = field(repr=False)

    def user(self, connection: HTTPConnection) -> str | None:
        """Return the name that the proxy says; None: it is not the proxy that asks, or it does not say one name."""
        users = connection.headers.getlist(USER_HEADER)
        is_proxy = self._is_near(connection) and self._knows_secret(connection)
        return users[0].strip().lower() if is_proxy and len(users) == 1 else None

    def _is_near(self, connection: HTTPConnection) -> bool:
        try:
            address = ip_address(connection.client.host if connection.client else "")
        except ValueError:
            return False
        plain: IPv4Address | IPv6Address = getattr(address, "ipv4_mapped", None) or address
        return any(plain in network for network in self.networks)

    def _knows_secret(self, connection: HTTPConnection) -> bool:
        sent = [sha256(secret.encode("latin-1")).digest() for secret in connection.headers.getlist(SECRET_HEADER)]
        return len(sent) == 1 and hmac.compare_digest(sent[0], sha256(self.secret).digest())


@dataclass(frozen=True, slots=True)
class Access:
    """Where the desk listens, by which names browsers call it, and what is between. `names` may have a port."""

    address: ListenAddress
    names: Sequence[str] = ()
    is_tls: bool = False
    proxy: TrustedProxy | None = None

    @property
    def scheme(self) -> str:
        """What its own addresses begin with."""
        return "https" if self.is_tls else "http"

    @property
    def schemes(self) -> tuple[str, ...]:
        """What the addresses of its pages begin with in browsers: a proxy may or may not speak TLS to them."""
        return ("http", "https") if self.proxy else (self.scheme,)

    @property
    def url(self) -> str:
        """Where people go to sign in, at the proxy if there is one: by the first name."""
        name = self.names[0] if self.names else str(self.address)
        is_whole = ":" in name or self.proxy is not None
        return f"{self.scheme}://{name}" + ("" if is_whole else f":{self.address.port}")

    @property
    def cookie(self) -> str:
        """The cookie's name. Cookies know no ports: two desks on one machine would share one.

        With `__Host-` a browser takes it from this very host over TLS alone.
        """
        return f"{'__Host-' if self.is_tls else ''}vision_line_desk_{self.address.port}"

    @property
    def allows_links(self) -> bool:
        """Whether a link from the terminal may open it, as long as there are no users: on this machine alone."""
        return self.address.is_loopback and self.proxy is None

    def hosts(self) -> frozenset[str]:
        """Return what `Host` may be: the address as it is, and the names."""
        port = self.address.port
        named = {name.lower() for name in self.names}
        names = allowed_hosts(self.address) | named | {f"{name}:{port}" for name in named}
        return names | {name.removesuffix(":443") for name in names} if self.is_tls else names
