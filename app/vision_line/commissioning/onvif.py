# SPDX-License-Identifier: AGPL-3.0-or-later
"""Asks an ONVIF device for its streams (Media service 1, which all cameras have): a camera's address becomes its URL.

A device is asked at the address that it was found at, and its streams are taken to be there as well, whatever host it
names: a password goes to nobody else. It proves itself with a digest, of WS-Security or of HTTP; never in clear.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element

from vision_line.commissioning.http_post import HttpAnswer, post
from vision_line.commissioning.soap import (
    SoapError,
    children,
    descendant,
    descendants,
    envelope,
    escape,
    parse_answer,
    username_token,
)
from vision_line.errors import SourceError, SourceErrorCode
from vision_line.ingest.wire.authorization import Credentials, choose_challenge, parse_challenges
from vision_line.words import one_line

_DEVICE = "http://www.onvif.org/ver10/device/wsdl"
_MEDIA = "http://www.onvif.org/ver10/media/wsdl"
_SCHEMA = "http://www.onvif.org/ver10/schema"
_TIMEOUT_S = 5.0
_FULL_HD_PIXELS = 1920 * 1080
_CODECS = ("H264", "H265")
_MOST_SOURCES = 64  # of a recorder; each is asked about
_DENIED = re.compile(r"NotAuthorized|FailedAuthentication|FailedCheck|InvalidSecurity")


@dataclass(frozen=True, slots=True)
class Login:
    """User and password of a device."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Profile:
    """One stream that a device offers, as it describes it."""

    token: str
    source: str
    encoding: str
    size_wh: tuple[int, int]


@dataclass(frozen=True, slots=True)
class OnvifStream:
    """The stream of one video source that was chosen, its URL without user and password."""

    url: str
    profile: Profile


class OnvifDevice:
    """One device; asked by one thread. Each question blocks for at most ten seconds."""

    def __init__(self, service_url: str, login: Login | None) -> None:
        """Ask at `service_url`, as `login` (None: without a name).

        Raises:
            ValueError: it is no http URL.
        """
        parts = urlsplit(service_url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"expected http://host[:port]/path, found {service_url!r}")
        self.host = parts.hostname
        self._port = parts.port or 80
        self._path = parts.path or "/onvif/device_service"
        self._login = login
        self._credentials = None if login is None else Credentials(login.user, login.password)
        self._ahead = timedelta()  # of the device's clock

    def streams(self) -> list[OnvifStream]:
        """Return a stream for each video source.

        Raises:
            SourceError: the device cannot be asked, refuses (AUTH_FAILED), or has no video (NO_VIDEO).
        """
        self._learn_clock()
        media_path = self._media_path()
        answer = self._ask(media_path, f'<m:GetProfiles xmlns:m="{_MEDIA}"/>')
        profiles = [profile for tree in descendants(answer, "Profiles") if (profile := _profile(tree)) is not None]
        if not profiles:
            raise SourceError(self.host, SourceErrorCode.NO_VIDEO, "the device has no video profile")
        by_source: dict[str, list[Profile]] = {}
        for profile in profiles:
            by_source.setdefault(profile.source, []).append(profile)
        return [self._stream(media_path, group) for group in list(by_source.values())[:_MOST_SOURCES]]

    def _stream(self, media_path: str, profiles: list[Profile]) -> OnvifStream:
        chosen = best_profile(profiles)
        setup = (
            f'<m:StreamSetup xmlns:t="{_SCHEMA}"><t:Stream>RTP-Unicast</t:Stream>'
            "<t:Transport><t:Protocol>RTSP</t:Protocol></t:Transport></m:StreamSetup>"
        )
        token = f"<m:ProfileToken>{escape(chosen.token)}</m:ProfileToken>"
        answer = self._ask(media_path, f'<m:GetStreamUri xmlns:m="{_MEDIA}">{setup}{token}</m:GetStreamUri>')
        url = at_host(descendant(answer, "MediaUri", "Uri"), self.host)
        if url is None:
            raise SourceError(self.host, SourceErrorCode.NO_VIDEO, "the device names no rtsp:// URL for its video")
        return OnvifStream(url, chosen)

    def _learn_clock(self) -> None:
        """Ask the device's time, which a digest has to have; one that does not say it is taken to be right."""
        answer = self._post(self._path, f'<d:GetSystemDateAndTime xmlns:d="{_DEVICE}"/>', {}, "")
        try:
            said = _utc(parse_answer(answer.body))
        except SoapError:
            return  # the next question has the same fate, and says so
        if said is not None:
            self._ahead = said - datetime.now(UTC)

    def _media_path(self) -> str:
        body = f'<d:GetCapabilities xmlns:d="{_DEVICE}"><d:Category>Media</d:Category></d:GetCapabilities>'
        address = descendant(self._ask(self._path, body), "Media", "XAddr")
        try:
            path = urlsplit(address).path
        except ValueError:  # as a device may write it: brackets without an address in them
            path = ""
        if not path.startswith("/"):
            raise SourceError(self.host, SourceErrorCode.NO_VIDEO, "the device has no media service")
        return path

    def _ask(self, path: str, body: str) -> Element:
        """Return the answer to a question.

        Raises:
            SourceError: there is none, or the device refuses.
        """
        answer = self._post(path, body, {}, self._token())
        if answer.status == 401 and (header := self._http_digest(answer, path)) is not None:
            answer = self._post(path, body, {"Authorization": header}, "")
        return self._checked(answer)

    def _token(self) -> str:
        if self._login is None:
            return ""
        created = datetime.now(UTC) + self._ahead
        return username_token(self._login.user, self._login.password, secrets.token_bytes(16), created)

    def _http_digest(self, answer: HttpAnswer, path: str) -> str | None:
        """Return the answer to an HTTP challenge; None where there is no login, or only Basic is offered."""
        digests = [one for one in parse_challenges(answer.challenges) if one.scheme == "digest"]
        challenge = choose_challenge(digests)
        if challenge is None or self._credentials is None:
            return None
        return self._credentials.answer(challenge, "POST", path)

    def _checked(self, answer: HttpAnswer) -> Element:
        if answer.status in (401, 403):
            raise self._denied()
        try:
            tree = parse_answer(answer.body)
        except SoapError as exc:
            what = f"HTTP status {answer.status}" if answer.status != 200 else str(exc)
            raise SourceError(self.host, SourceErrorCode.FAILED, f"no ONVIF answer: {what}") from exc
        if not (faults := descendants(tree, "Fault")):
            return tree
        words = " ".join(text.strip() for text in faults[0].itertext() if text.strip())
        if _DENIED.search(words):
            raise self._denied()
        raise SourceError(self.host, SourceErrorCode.FAILED, f"the device refuses: {one_line(words)[:200]}")

    def _denied(self) -> SourceError:
        why = "asks for a user and a password" if self._login is None else "does not take this user and password"
        return SourceError(self.host, SourceErrorCode.AUTH_FAILED, f"the device {why} (ONVIF)")

    def _post(self, path: str, body: str, headers: dict[str, str], header: str) -> HttpAnswer:
        return post(self.host, self._port, path, envelope(body, header), headers, _TIMEOUT_S)


def best_profile(profiles: Sequence[Profile]) -> Profile:
    """Return the largest that has at most Full HD; where all are larger the smallest. Of equal ones the first. Pure.

    H.264 and H.265 go before other codecs, whatever their size.
    """
    wanted = [profile for profile in profiles if profile.encoding in _CODECS] or profiles
    sized = [(width * height, profile) for profile in wanted for width, height in [profile.size_wh]]
    fitting = [pair for pair in sized if pair[0] <= _FULL_HD_PIXELS]
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else min(sized, key=lambda pair: pair[0])[1]


def at_host(url: str, host: str) -> str | None:
    """Return an RTSP URL with `host` in place of the one in it, without user and password; None for anything else."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("rtsp", "rtsps") or re.search(r"[\s\x00-\x1f\x7f{}]", url):
        return None
    place = f"[{host}]" if ":" in host else host
    return parts._replace(netloc=place if port is None else f"{place}:{port}", fragment="").geturl()


def _profile(tree: Element) -> Profile | None:
    """Return what a profile says; None where it has no video."""
    encoders = children(tree, "VideoEncoderConfiguration")
    token = tree.attrib.get("token", "")
    if not encoders or not token:
        return None
    size = (
        _number(descendant(encoders[0], "Resolution", "Width")),
        _number(descendant(encoders[0], "Resolution", "Height")),
    )
    encoding = one_line(descendant(encoders[0], "Encoding"))[:20]
    return Profile(token, descendant(tree, "VideoSourceConfiguration", "SourceToken") or token, encoding, size)


def _utc(tree: Element) -> datetime | None:
    """Return the UTC in an answer; None where there is none, or a date that there is not."""
    parts = [descendant(tree, "UTCDateTime", *path) for path in _TIME_PATHS]
    try:
        year, month, day, hour, minute, second = map(int, parts)
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


_TIME_PATHS = tuple(("Date", part) for part in ("Year", "Month", "Day")) + tuple(
    ("Time", part) for part in ("Hour", "Minute", "Second")
)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
