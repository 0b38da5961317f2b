# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera's URL in two halves: what may stand in a file, and the secrets that may not. Pure.

The halves make the URL again when `streams.toml` is read: `config.load` fills each `{NAME}` in.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from vision_line.config.load import PLACEHOLDER
from vision_line.errors import SECRET_KEY, ConfigError

_URL = re.compile(
    r"(?P<scheme>rtsps?://)(?:(?P<user>[^/?#]*)@)?(?P<place>[^/?#@]*)(?P<path>.*)", re.IGNORECASE | re.DOTALL
)
_KEPT_CHARACTERS = re.compile(r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?")


@dataclass(slots=True)
class SecretBook:
    """Secrets and the names that stand for them: the same login has the same name.

    `is_taken` says whether a name has another meaning already, for which it is asked with name and value.
    """

    is_taken: Callable[[str, str], bool]
    values: dict[str, str] = field(default_factory=dict, repr=False)

    def names_of(self, secrets: dict[str, str]) -> dict[str, str]:
        """Return for each kind (`USER`, `PASSWORD`, `PATH`) a placeholder that stands for its value.

        Raises:
            ConfigError: a value that a file of secrets cannot hold.
        """
        for kind, value in secrets.items():
            if not _KEPT_CHARACTERS.fullmatch(value):
                raise ConfigError(
                    f"found a {kind.lower()} that is empty, or has a space at an end or a control character"
                )
        number = 1
        while any(self._means_other(_name(number, kind), value) for kind, value in secrets.items()):
            number += 1
        self.values |= {_name(number, kind): value for kind, value in secrets.items()}
        return {kind: f"{{{_name(number, kind)}}}" for kind in secrets}

    def _means_other(self, name: str, value: str) -> bool:
        return self.values[name] != value if name in self.values else self.is_taken(name, value)


def _name(number: int, kind: str) -> str:
    return f"CAM{'' if number == 1 else number}_{kind}"


def without_secrets(url: str, book: SecretBook) -> str:
    """Return `url` as a file may have it; its user, its password and a path with such keys are in `book` then.

    What is a `{NAME}` already stays. A file's URL has no secrets.

    Raises:
        ConfigError: a URL that cannot be told apart, without the URL.
    """
    if url[:5].lower() == "file:":
        return url
    parts = _URL.fullmatch(url)
    if parts is None:
        return url  # whoever reads it says what is wrong with it
    if "@" in parts["path"]:
        raise ConfigError("found an @ behind the host: in a URL / ? # and @ of a password are written %2F %3F %23 %40")
    user = "" if parts["user"] is None else f"{_without_login(parts['user'], book)}@"
    return f"{parts['scheme']}{user}{parts['place']}{_without_keys(parts['path'], book)}"


def with_login(url: str, user: str, password: str) -> str:
    """Return an RTSP URL with user and password, which may be `{NAME}`s, in place of those in it."""
    parts = _URL.fullmatch(url)
    if parts is None:
        raise ValueError("expected an rtsp:// URL")
    return f"{parts['scheme']}{_encoded(user)}:{_encoded(password)}@{parts['place']}{parts['path']}"


def login_of(url: str) -> str:
    """Return the user part of an RTSP URL as it is written; "" where there is none."""
    parts = _URL.fullmatch(url)
    return "" if parts is None else parts["user"] or ""


def _encoded(secret: str) -> str:
    return secret if PLACEHOLDER.fullmatch(secret) else quote(secret, safe="")


def _without_login(login: str, book: SecretBook) -> str:
    user, colon, password = login.partition(":")
    if not login or all(PLACEHOLDER.fullmatch(part) for part in (user, password) if part):
        return login
    if not colon and ":" in unquote(user):
        raise ConfigError("found a user with a colon and no password, which cannot be kept apart")
    found = {"USER": user, "PASSWORD": password}
    secrets = {kind: unquote(text) for kind, text in found.items() if text and not PLACEHOLDER.fullmatch(text)}
    if any(PLACEHOLDER.search(found[kind]) for kind in secrets):
        raise ConfigError("found a user or password that is a {NAME} in part: expected the whole, or none of it")
    written = found | book.names_of(secrets)
    return f"{written['USER']}{colon}{written['PASSWORD']}"


def _without_keys(path: str, book: SecretBook) -> str:
    """Return `path`, or one placeholder for all of it where a key in it holds a user or a password."""
    plain = PLACEHOLDER.sub("", path)
    if not any(found[0] != found[1] for found in SECRET_KEY.finditer(plain)):
        return path
    if plain != path:
        raise ConfigError("found a path with a {NAME} beside a user or password: expected a {NAME} for each of them")
    return path[0] + book.names_of({"PATH": path[1:]})["PATH"]
