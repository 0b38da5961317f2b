# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where the database is and how it is reached. Its password is in no message, log or repr."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import parse_qsl, unquote, urlsplit

from vision_line.config.load import fill_placeholders
from vision_line.config.output_settings import checked_url
from vision_line.errors import ConfigError, mask_credentials

#: Where a command finds the URL that is not given: a command line is seen by everybody on the machine.
ENVIRONMENT = "VISION_LINE_DATABASE"
SCHEMES = ("postgresql", "postgres")
#: What libpq is told unless the URL says otherwise: a server that is gone is noticed, in seconds and milliseconds.
_PATIENCE = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
    "application_name": "vision-line",
}
#: In a network everybody can claim to be the server, and read along.
_VERIFIED = {"sslmode": "verify-full", "sslrootcert": "system"}


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """A URL with its secrets. `parameters` are libpq's."""

    parameters: Mapping[str, str] = field(repr=False)
    secret: str = field(repr=False)
    shown: str

    def __str__(self) -> str:
        """Return the URL with user and password masked."""
        return self.shown

    def without_secret(self, text: str) -> str:
        """Return what the database said, as one line without the password."""
        words = " ".join(text.split())
        return words.replace(self.secret, "***") if self.secret else words


def database_url(text: str | None, environment: Mapping[str, str] | None = None) -> DatabaseUrl:
    """Return a URL, by default that of the environment, with its `{NAME}`s filled in as those of cameras are.

    Raises:
        ConfigError: there is none, it is none, or a secret is not there.
    """
    environment = os.environ if environment is None else environment
    given = text or environment.get(ENVIRONMENT)
    if not given:
        raise ConfigError(f"expected --database postgresql://USER@HOST/NAME, or {ENVIRONMENT} in the environment")
    filled, problems = fill_placeholders(given, environment)
    if problems:
        raise ConfigError(*(f"--database: {problem}" for problem in problems))
    try:
        return parsed(filled)
    except ValueError as exc:
        raise ConfigError(f"--database: {exc}") from None


def parsed(url: str) -> DatabaseUrl:
    """Return a URL whose secrets are filled in.

    Raises:
        ValueError: it is none; what was found is not quoted, it may hold a password.
    """
    checked_url(url, SCHEMES)
    parts = urlsplit(url)
    own: dict[str, str] = {}
    for key, value in (
        ("host", parts.hostname),
        ("port", None if parts.port is None else str(parts.port)),
        ("user", parts.username),
        ("password", parts.password),
        ("dbname", parts.path.removeprefix("/")),
    ):
        if value:
            own[key] = unquote(value)
    own |= dict(parse_qsl(parts.query))
    if "dbname" not in own:
        raise ValueError("expected the name of a database behind the host: postgresql://USER@HOST/NAME")
    trust = {} if is_near(own.get("hostaddr", own["host"])) or "sslmode" in own else _VERIFIED
    return DatabaseUrl(_PATIENCE | trust | own, own.get("password", ""), mask_credentials(url.partition("?")[0]))


def is_near(host: str) -> bool:
    """Whether a host is this machine: a loopback address, its name, or a folder of sockets."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.startswith("/")
