# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which cameras `vision-line init` writes down: what was given, what was found on the network, what was answered."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import typer

from vision_line.cli import questions
from vision_line.commissioning.camera_url import with_login
from vision_line.commissioning.discovery import discover
from vision_line.commissioning.onvif import Login, OnvifDevice
from vision_line.config.load import fill_placeholders
from vision_line.errors import ConfigError, RunError, SourceError, SourceErrorCode, mask_credentials

_CAMERA = re.compile(r"rtsps?://|file:", re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?")
#: The login of cameras that were found, where nobody can be asked.
_LOGIN = ("{CAM_USER}", "{CAM_PASSWORD}")


@dataclass(frozen=True, slots=True)
class InitOptions:
    """The command line of `vision-line init`; `listed` is a file of cameras, one a line."""

    arguments: Sequence[str] = field(default=(), repr=False)  # URLs may have passwords in them
    listed: Path | None = None
    search: bool = False
    probe: bool = True
    snapshots: Path | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """What a command line names: the file to write, cameras' URLs, and device services of ONVIF."""

    file: Path
    urls: list[str] = field(repr=False)
    services: list[str]


def sort_arguments(options: InitOptions) -> Given:
    """Return what the arguments and the list are: a name that ends in .toml is the file.

    Raises:
        ConfigError: one is nothing of that kind, or there are two files.
    """
    files = [word for word in options.arguments if word.endswith(".toml") and not _CAMERA.match(word)]
    if len(files) > 1:
        raise ConfigError(f"expected one file to write, found {', '.join(files)}")
    cameras = [word for word in options.arguments if word not in files] + _listed(options.listed)
    given = Given(Path(files[0] if files else "streams.toml"), [], [])
    for word in cameras:
        _sort(word, given)
    return given


def _sort(word: str, given: Given) -> None:
    if _CAMERA.match(word):
        given.urls.append(word)
    elif word.startswith("http://") and "@" not in word:
        given.services.append(_checked_service(word, word))
    elif _HOST.fullmatch(word):
        given.services.append(_checked_service(f"http://{word}/onvif/device_service", word))
    else:
        # Text that is no URL is not shown where it may hold a password.
        found = mask_credentials(word) if "@" not in word else "something with an @"
        raise ConfigError(
            f"expected FILE.toml, an rtsp://, rtsps:// or file: URL, or an ONVIF camera's address, found {found!r}"
        )


def _checked_service(url: str, word: str) -> str:
    """Return `url`, which `word` stands for.

    Raises:
        ConfigError: no device can be asked there.
    """
    try:
        parts = urlsplit(url)
        if parts.hostname and parts.port != 0:
            return url
    except ValueError:  # what stands in brackets is no address, or the port is none
        pass
    raise ConfigError(f"expected host[:port] of an ONVIF camera, with a port of 1 to 65535, found {word!r}")


def _listed(path: Path | None) -> list[str]:
    """Return the lines of a list of cameras; blank ones and those that begin with # say nothing.

    Raises:
        ConfigError: it cannot be read.
    """
    if path is None:
        return []
    try:
        text = sys.stdin.read() if path == Path("-") else path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"--from {path}: cannot be read: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"--from {path}: expected UTF-8 text") from exc
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


class Inquiry:
    """Completes what was given: searches the network, asks devices for their streams, and people for the rest."""

    def __init__(self, options: InitOptions, *, is_asking: bool) -> None:
        """Ask people only if `is_asking`."""
        self._options = options
        self._is_asking = is_asking
        self.left_out: list[str] = []  # hosts of devices that did not name their streams
        self._login: Login | None = None  # the newest answer, which other cameras mostly share

    def urls(self, given: Given) -> list[str]:
        """Return the URLs of all cameras, each once, with their secrets.

        Raises:
            ConfigError: there is none.
            RunError: no network could be searched.
        """
        is_bare = not given.urls and not given.services
        if is_bare and not self._options.search and not self._is_asking:
            raise ConfigError("expected a camera's URL, --from FILE or --discover: without a terminal nobody is asked")
        if self._options.search or (is_bare and self._is_asking):
            given.services.extend(self._found())
        if is_bare and self._is_asking:
            for word in questions.ask_urls():
                _sort(word, given)
        urls = [*given.urls, *(url for service in dict.fromkeys(given.services) for url in self._streams(service))]
        if not urls:
            raise ConfigError("no camera was given or found: nothing was written")
        return list(dict.fromkeys(urls))

    def ask_login(self, place: str) -> Login | None:
        """Return another login for `place`; None where nobody can be asked, or has none."""
        login = questions.ask_login(place) if self._is_asking else None
        self._login = login or self._login
        return login

    def _found(self) -> list[str]:
        typer.echo("looking for ONVIF cameras on the network ...")
        try:
            devices = discover()
        except OSError as exc:
            raise RunError(f"the network cannot be searched for cameras: {exc.strerror or exc}") from exc
        for number, device in enumerate(devices, start=1):
            typer.echo(f"{number:3}  {device.host}  {device.description}".rstrip())
        if not devices:
            typer.echo("none answered; cameras behind a router do not hear the question")
        wanted = questions.ask_which(devices) if devices and self._is_asking else devices
        return [device.service_url for device in wanted]

    def _streams(self, service: str) -> list[str]:
        """Return the URLs of a device's streams, with the login that it took; none, and a complaint, if it has none."""
        access = self._known_access()
        for _ in range(questions.MOST_TRIES):
            device = OnvifDevice(service, None if access is None else access.login)
            try:
                urls = [stream.url for stream in device.streams()]
            except SourceError as exc:
                refusal = exc
            else:
                return [with_login(url, access.user, access.password) for url in urls] if access else urls
            answer = self.ask_login(device.host) if refusal.code is SourceErrorCode.AUTH_FAILED else None
            if answer is None:
                break
            access = _Access(answer.user, answer.password, answer)
        self.left_out.append(device.host)
        typer.echo(f"{refusal}; left out: give its rtsp:// URL{self._hint(refusal)}", err=True)
        return []

    def _known_access(self) -> _Access | None:
        """Return what a person answered before, or what the environment has; None where there is neither."""
        if self._login is not None:
            return _Access(self._login.user, self._login.password, self._login)
        filled = [fill_placeholders(name, os.environ) for name in _LOGIN]
        if any(problems for _, problems in filled):
            return None
        return _Access(*_LOGIN, Login(*(value for value, _ in filled)))

    def _hint(self, refusal: SourceError) -> str:
        if refusal.code is not SourceErrorCode.AUTH_FAILED or self._is_asking:
            return ""
        return ", or its login as CAM_USER and CAM_PASSWORD"


@dataclass(frozen=True, slots=True)
class _Access:
    """A login, and how a URL has user and password: as they are, or as names that stand for them."""

    user: str
    password: str = field(repr=False)
    login: Login
