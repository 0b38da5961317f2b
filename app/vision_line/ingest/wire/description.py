# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a camera says it sends: the part of SDP (RFC 8866) that tells its first video track and how to ask for it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

#: SDP's names of the payloads that are taken, and FFmpeg's of their codecs.
CODECS = {"h264": "h264", "h265": "hevc", "jpeg": "mjpeg"}
_STATIC = {26: ("jpeg", 90000)}  # RFC 3551 table 5
_VIDEO = re.compile(r"video\s+\S+\s+\S+\s+(\d{1,3})\b")
_RTPMAP = re.compile(r"(\d{1,3})\s+([\w.+-]+)\s*/\s*(\d{1,9})")
_PARAMETER_SETS = ("sprop-vps", "sprop-sps", "sprop-pps", "sprop-parameter-sets")
_MAX_PARAMETER_SETS = 64


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """The first video track. `codec` is FFmpeg's name, or what the SDP says where it is not taken."""

    codec: str
    payload_type: int
    clock_hz: int
    control_url: str
    parameter_sets: tuple[bytes, ...] = ()  # NAL units without start codes

    @property
    def is_taken(self) -> bool:
        """Whether this codec is read."""
        return self.codec in CODECS.values()


@dataclass(frozen=True, slots=True)
class Description:
    """A presentation: what PLAY is asked of, and its video (None: there is none)."""

    aggregate_url: str
    video: VideoTrack | None


def parse_description(body: bytes, base_url: str) -> Description:
    """Return what an SDP says; text that is not UTF-8 is nobody's trouble, lines that make no sense are left out."""
    session: dict[str, list[str]] = {}
    video: dict[str, list[str]] | None = None
    payload_type: int | None = None
    here: dict[str, list[str]] | None = session
    for kind, value in _lines(body):
        if kind == "m":
            found = _VIDEO.match(value) if video is None else None
            here = None
            if found:
                here = video = {}
                payload_type = int(found[1])
        elif kind == "a" and here is not None:
            name, _, argument = value.partition(":")
            here.setdefault(name.strip().lower(), []).append(argument.strip())
    aggregate_url = join_control(base_url, _first(session, "control"))
    if video is None or payload_type is None:
        return Description(aggregate_url, None)
    return Description(aggregate_url, _track(video, payload_type, aggregate_url, base_url))


def _lines(body: bytes) -> Iterator[tuple[str, str]]:
    for line in body.decode("utf-8", "replace").splitlines():
        kind, equals, value = line.strip().partition("=")
        if equals and len(kind) == 1:
            yield kind, value.strip()


def _track(attributes: dict[str, list[str]], payload_type: int, aggregate_url: str, base_url: str) -> VideoTrack:
    name, clock_hz = _STATIC.get(payload_type, (f"payload type {payload_type}", 90000))
    for value in attributes.get("rtpmap", []):
        found = _RTPMAP.match(value)
        if found and int(found[1]) == payload_type:
            name, clock_hz = found[2], int(found[3]) or 90000
    control = _first(attributes, "control")
    fields = _format_fields(attributes.get("fmtp", []), payload_type)
    interleaved = _is_interleaved(fields)
    return VideoTrack(
        f"{name[:40]} in interleaved mode" if interleaved else CODECS.get(name.lower(), name[:40]),
        payload_type,
        clock_hz,
        aggregate_url if control in ("", "*") else join_control(base_url, control),
        tuple(_parameter_sets(fields)),
    )


def join_control(base_url: str, control: str) -> str:
    """Return the URL that a control attribute means: absolute, or appended to the base as every camera expects it."""
    if control in ("", "*"):
        return base_url
    if urlsplit(control).scheme.lower() in ("rtsp", "rtsps"):
        return control
    return f"{base_url.rstrip('/')}/{control.lstrip('/')}"


def _format_fields(formats: list[str], payload_type: int) -> dict[str, str]:
    fields: dict[str, str] = {}
    for value in formats:
        number, _, parameters = value.partition(" ")
        if number == str(payload_type):
            fields |= {name.strip().lower(): text.strip() for name, _, text in _pairs(parameters)}
    return fields


def _is_interleaved(fields: dict[str, str]) -> bool:
    """Whether NAL units come out of their order, with numbers that are not read."""
    return fields.get("packetization-mode") == "2" or fields.get("sprop-max-don-diff", "0") != "0"


def _parameter_sets(fields: dict[str, str]) -> Iterator[bytes]:
    encoded = [text for name in _PARAMETER_SETS for text in fields.get(name, "").split(",") if text]
    for text in encoded[:_MAX_PARAMETER_SETS]:
        try:
            decoded = base64.b64decode(text)
        except (binascii.Error, ValueError):
            continue  # they also come with the frames
        if decoded:
            yield decoded


def _pairs(parameters: str) -> Iterator[tuple[str, str, str]]:
    return (pair.partition("=") for pair in parameters.split(";"))


def _first(attributes: dict[str, list[str]], name: str) -> str:
    return attributes.get(name, [""])[0]
