# SPDX-License-Identifier: AGPL-3.0-or-later
"""`{NAME}` in a camera's URL: where its secret comes from, and how it is written into the URL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from vision_line.errors import ConfigError

_PLACEHOLDER = re.compile(r"\{([A-Z][A-Z0-9_]*)\}")
_SECRET_FOLDERS = ("/run/secrets",)


def fill_placeholders(url: str, environment: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return `url` with its secrets filled in, and what is wrong with those that cannot be.

    A secret is given as it is. In the user part, and behind a `=`, it is percent-encoded, so that a password may hold
    `#`, `/`, `?`, `@` and `%`; elsewhere (a host, a path, a whole URL) it is a piece of the URL and taken as it stands.
    """
    problems: list[str] = []

    def secret(match: re.Match[str]) -> str:
        try:
            return _written(_secret(match[1], environment), url, match.start())
        except ConfigError as exc:
            problems.append(str(exc))
            return "unset"  # something must stand there, so that the URL's own faults are found in the same run

    return _PLACEHOLDER.sub(secret, url), problems


def _secret(name: str, environment: Mapping[str, str]) -> str:
    if name in environment:
        return environment[name]
    for folder in filter(None, (environment.get("CREDENTIALS_DIRECTORY"), *_SECRET_FOLDERS)):
        file = Path(folder) / name
        try:
            return file.read_text(encoding="utf-8").strip()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        except OSError as exc:
            raise ConfigError(f"{{{name}}}: {file} cannot be read: {exc.strerror or exc}") from exc
        except UnicodeDecodeError:
            # Not chained and without the byte: it is a piece of the secret.
            raise ConfigError(f"{{{name}}}: {file}: expected UTF-8 text") from None
    raise ConfigError(f"{{{name}}} is neither an environment variable nor a secret file")


def _written(secret: str, url: str, at: int) -> str:
    """Return `secret` as it is written at position `at` of `url`."""
    if url[:5].lower() == "file:":
        return secret
    start, end = _user_part(url)
    if start <= at < end:
        # A single placeholder for both, `{LOGIN}@`, brings the colon between name and password along.
        return _encoded(secret, safe="" if ":" in url[start:end] else ":")
    return _encoded(secret) if url[at - 1 : at] == "=" else secret


def _user_part(url: str) -> tuple[int, int]:
    """Return where the user part of `url` begins and ends; it is empty where there is no `@` before the path."""
    start = url.find("://") + 3
    if start < 3:
        return 0, 0
    authority = re.match(r"[^/?#]*", url[start:])
    return start, start + max(authority[0].rfind("@") if authority else -1, 0)


def _encoded(secret: str, safe: str = "") -> str:
    # An environment variable that is not UTF-8 comes with surrogates for its bytes.
    return quote(secret, safe=safe, errors="surrogateescape")
