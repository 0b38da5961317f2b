# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the desk learns from the feed while somebody watches, and how it is said to browsers. Pure."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from vision_line.feed.protocol import Header

#: A box as the feed has it; `verdict` is None where nothing is decided yet.
Box: TypeAlias = Header

_LENGTH = struct.Struct(">I")
#: Of each message among several: whether it is a text, and its length.
_PART = struct.Struct(">?I")

#: A text or binary message of a WebSocket.
Sent: TypeAlias = str | bytes


class FrameTimes(NamedTuple):
    """What names a frame of a camera: several may arrive at once, and not every one has a time of its own."""

    arrived_s: float
    pts_s: float | None


def times_of(header: Header) -> FrameTimes:
    """Return what names the frame of a `frame` or `result` of the feed."""
    return FrameTimes(header["arrived_s"], header["pts_s"])


@dataclass(frozen=True, slots=True)
class Tile:
    """A keyframe as a small JPEG; `size_wh` is the frame's own."""

    camera: str
    times: FrameTimes
    size_wh: tuple[int, int]
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class FrameBoxes:
    """What was found in a frame, which has `size_wh`."""

    camera: str
    times: FrameTimes
    size_wh: tuple[int, int]
    boxes: Sequence[Box]


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The run as it is now: `snapshot` is the feed's."""

    snapshot: Header


@dataclass(frozen=True, slots=True)
class NoRun:
    """No run has a feed now; `reason` says how that is known."""

    reason: str


@dataclass(frozen=True, slots=True)
class VideoStart:
    """A camera's video begins anew: what follows needs this initialization segment. `codec` is a browser's name.

    Without a segment a browser cannot play it, and `codec` is FFmpeg's name.
    """

    camera: str
    codec: str
    segment: bytes | None


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One encoded frame as a media segment; `media_s` is when it is shown by the video's own time."""

    camera: str
    times: FrameTimes
    media_s: float
    keyframe: bool
    segment: bytes


LiveUpdate: TypeAlias = Tile | FrameBoxes | RunStatus | NoRun | VideoStart | VideoFrame


def packed_binary(header: Mapping[str, object], payload: bytes) -> bytes:
    """Return a binary message: 4 bytes length of the header, big-endian, the header in JSON, the payload."""
    text = json.dumps(header, separators=(",", ":")).encode()
    return _LENGTH.pack(len(text)) + text + payload


def joined(messages: Sequence[Sent]) -> Sent:
    """Return messages as one: each that is sent alone costs as much as what is in it.

    Four zero bytes, which no binary message begins with; then of each message one byte, 1: it is a text, 4 bytes of
    its length, big-endian, and the message.
    """
    if len(messages) == 1:
        return messages[0]
    pieces = [_LENGTH.pack(0)]
    for message in messages:
        data = message.encode() if isinstance(message, str) else message
        pieces += [_PART.pack(isinstance(message, str), len(data)), data]
    return b"".join(pieces)


def boxes_of(result: Header) -> FrameBoxes:
    """Return the boxes of the feed's `result`."""
    return FrameBoxes(result["camera"], times_of(result), (result["width"], result["height"]), result["boxes"])
