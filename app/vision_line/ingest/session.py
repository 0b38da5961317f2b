# SPDX-License-Identifier: AGPL-3.0-or-later
"""One attempt at a camera, in a daemon thread of its own: open, demux, decode, until lost, ended or told to stop."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from vision_line.config.models import Stream
from vision_line.errors import DeviceError, SourceError, SourceErrorCode
from vision_line.frames import Colour, ColourMatrix, ColourRange, DropCause, Frame
from vision_line.ingest.age import FrameAge
from vision_line.ingest.camera_clock import Clocks
from vision_line.ingest.damage import Damage
from vision_line.ingest.decode_load import DecodeLoad
from vision_line.ingest.error_mapping import describe_fault
from vision_line.ingest.file_timeline import RateCap
from vision_line.ingest.files import open_file
from vision_line.ingest.fingerprint import Fingerprint
from vision_line.ingest.frame_numbers import FrameNumbers, open_frame_numbers
from vision_line.ingest.frame_sink import FrameSink
from vision_line.ingest.health import Health, PictureHealth
from vision_line.ingest.intake import Intake
from vision_line.ingest.lifecycle import ConnectionStats
from vision_line.ingest.rtsp import RtspSource
from vision_line.ingest.source import EncodedFrame, Source
from vision_line.ports import DecodedFrame, Decoder, OpenDecoder

logger = logging.getLogger(__name__)

SignPicture = Callable[[Any], Fingerprint | None]

FILE_OPEN_S = 30.0  # a busy disk is waited for: a file has but one try
_NO_TICKS = -(1 << 62)
INTERRUPTION_S = 2.0  # what is left out of a camera that is so late leaves a hole in what is known of it
_MAX_REMEMBERED = 64  # arrivals of pictures that are inside the decoder


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """How a session ended: at a file's end or told to stop (None), or by an error; `fault` is one of ours behind it."""

    error: SourceError | None
    fault: Exception | None = None


def open_source(stream: Stream, stop: threading.Event, clocks: Clocks) -> Source:
    """Open what a stream's URL names; may block.

    Raises:
        SourceError: it cannot be opened.
    """
    return RtspSource(stream, stop, clocks) if stream.is_live else open_file(stream, stop, clocks)


def open_health(stream: Stream) -> PictureHealth:
    """Make the monitor of a camera's pictures; it outlives connections.

    A file cannot freeze, and played as fast as possible its pictures' times mean nothing.
    """
    return PictureHealth(stream.frozen_after_s, may_stand_still=stream.may_stand_still or not stream.is_live)


def colour_override(stream: Stream, said: Colour | None = None) -> Colour | None:
    """Return `said` with what the stream's settings override; without `said`, only a complete override."""
    matrix, range_ = stream.colour_matrix, stream.colour_range
    if matrix == "auto" and range_ == "auto":
        return said
    if said is not None:
        return Colour(
            said.matrix if matrix == "auto" else ColourMatrix(matrix),
            said.range if range_ == "auto" else ColourRange(range_),
            said.assumed and "auto" in (matrix, range_),
        )
    return None if "auto" in (matrix, range_) else Colour(ColourMatrix(matrix), ColourRange(range_))


class Session:
    """Runs one connection. `changed` is called from its thread when the supervisor should look: never per frame."""

    def __init__(
        self,
        stream: Stream,
        open_decoder: OpenDecoder,
        outlet: FrameSink,
        changed: Callable[[], None],
        clocks: Clocks,
        health: PictureHealth,
        sign_picture: SignPicture,
        load: DecodeLoad,
    ) -> None:
        """Prepare; `start` begins."""
        self.vitals = ConnectionStats(started_s=clocks.monotonic())
        self.end: SessionEnd | None = None
        self.outlet = outlet
        self.call_on_frame = False  # set by the supervisor of a STALE camera, to hear of the next frame at once
        self._stream = stream
        self._open_decoder = open_decoder
        self._changed = changed
        self._clocks = clocks
        self._sign_picture = sign_picture
        self._health = health
        self._started = False
        self._finished = False
        self._decoder: Decoder | None = None
        self._origin: Any = None
        self._numbered: Any = None  # the origin of whose pictures the numbers are followed
        self._numbers: FrameNumbers | None = None
        self._load = load
        self._limit_s = stream.max_staleness_ms / 1000 if stream.is_live else math.inf
        self._cap = RateCap(stream.inspect_fps)  # a camera's frames are capped when they are picked
        self._age = FrameAge()
        self._busy_s = 0.0  # since the picture before, other than reading
        self._intake = Intake(stream.name, self._limit_s, load, self._leave_out)
        self._damage = Damage()
        self._arrivals: dict[int, EncodedFrame] = {}
        self._shown_ticks = _NO_TICKS  # presentation time of the picture that was shown last
        self._thread = threading.Thread(target=self._run, name=f"camera {stream.name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._started = True
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether the thread was started and has not come to its end."""
        return self._started and not self._finished

    def _run(self) -> None:
        self.end = self._run_to_end()
        self._finished = True
        self._changed()

    def _run_to_end(self) -> SessionEnd:
        try:
            try:
                self._read()
            finally:
                self._close_decoder()
        except SourceError as exc:
            return SessionEnd(exc)
        except DeviceError as exc:  # a picture could not be copied from the device for a look at it
            return SessionEnd(SourceError(self._stream.name, SourceErrorCode.FAILED, str(exc)))
        except Exception as exc:  # noqa: BLE001  whatever a camera makes our code do is that camera's affair alone
            return SessionEnd(SourceError(self._stream.name, SourceErrorCode.INTERNAL, describe_fault(exc)), exc)
        return SessionEnd(None)

    def _read(self) -> None:
        with closing(open_source(self._stream, self.outlet.stop, self._clocks)) as source:
            if self.outlet.stop.is_set():
                return
            self.vitals.opened_s = self._clocks.monotonic()
            self._changed()
            for picture in source:
                if self.outlet.stop.is_set():
                    return
                began_s = self._clocks.monotonic()
                self._take(picture)
                self._busy_s += self._clocks.monotonic() - began_s
            self._check_damage()

    def _check_damage(self) -> None:
        """Let no file end well of which pictures were lost; a looped one has no end."""
        if self._damage.unfounded:
            logger.warning(
                "camera %s: the first %d frames need others that are not in the file, and were not inspected",
                self._stream.name,
                self._damage.unfounded,
            )
        if detail := self._damage.describe():
            raise SourceError(self._stream.name, SourceErrorCode.CORRUPT, detail)

    def _take(self, picture: EncodedFrame) -> None:
        self._damage.saw(picture)
        if picture.counts:
            self.outlet.arrived()
        if picture.damaged or self._lacks_a_picture(picture):
            self._intake.lose()
            if picture.counts:
                self._drop(DropCause.CORRUPT)
        elif picture.packet is None:
            if not self._intake.awaits_key:
                self._decode(picture)
        else:
            for chosen in self._intake.take(self._aged(picture), self._age):
                self._decode_chosen(chosen)

    def _lacks_a_picture(self, picture: EncodedFrame) -> bool:
        """Whether one that this picture may refer to never came."""
        if picture.origin is not self._numbered:
            self._numbered = picture.origin
            self._numbers = open_frame_numbers(picture.origin)
        if self._numbers is None or picture.packet is None:
            return False
        return self._numbers.breaks(bytes(picture.packet), keyframe=picture.keyframe)

    def _aged(self, picture: EncodedFrame) -> EncodedFrame:
        """Return a picture with how late it came; a file's never is."""
        if not self._stream.is_live:
            return picture
        busy_s, self._busy_s = self._busy_s, 0.0
        behind_s = self._age.saw(picture.arrived_s, busy_s, _pts_s(picture), picture.camera_utc, picture.began_s)
        return replace(picture, behind_s=behind_s) if behind_s else picture

    def _leave_out(self, cause: DropCause) -> None:
        """Count a picture that will not be shown; one that was left out on purpose is a sign of life all the same."""
        self._drop(cause)
        if cause is not DropCause.CORRUPT and self.vitals.last_frame_s is not None:
            self.vitals.saw_frame(self._load.seen_s)
        if self._load.behind_s > INTERRUPTION_S:
            self._health.interrupt()

    def _decode_chosen(self, picture: EncodedFrame) -> None:
        if self._intake.awaits_key and not picture.keyframe:  # one chosen with it could not be decoded
            self._count_unseen(picture, DropCause.CORRUPT)
            return
        if picture.origin is not self._origin:
            self._change_decoder(picture.origin)
        self._remember(picture)
        began_s = self._clocks.monotonic()
        self._decode(picture)
        self._intake.decoded(self._clocks.monotonic() - began_s)

    def _change_decoder(self, origin: Any) -> None:
        self._close_decoder()
        self._arrivals.clear()
        self._origin = origin
        self._decoder = self._open_decoder(self._stream.name, origin, colour_override(self._stream))

    def _close_decoder(self) -> None:
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    def _decode(self, picture: EncodedFrame) -> None:
        if self._decoder is None:
            return
        try:
            for decoded in self._decoder.decode(picture.packet):
                self._post(decoded, picture)
        except SourceError as exc:
            if exc.code is not SourceErrorCode.CORRUPT:
                raise
            self._intake.lose()
            self._count_unseen(picture, DropCause.CORRUPT)

    def _drop(self, cause: DropCause) -> None:
        self.outlet.dropped(cause)
        if cause is DropCause.CORRUPT:
            self._damage.lost()

    def _count_unseen(self, picture: EncodedFrame, cause: DropCause) -> None:
        if picture.counts and picture.shown:
            self._drop(cause)
        if cause is DropCause.CORRUPT and picture.on_damage is not None:
            picture.on_damage()

    def _post(self, decoded: DecodedFrame, newest: EncodedFrame) -> None:
        picture = self._recall(decoded, newest)
        if decoded.corrupt:
            self._intake.lose()
            self._count_unseen(picture, DropCause.CORRUPT)
            return
        keyframe = decoded.keyframe or picture.keyframe
        decoded_s = self._clocks.monotonic()
        if picture.shown or self.vitals.last_frame_s is not None:  # what was stored before it shows no pace
            self._note_frame(decoded, picture.arrived_s, decoded_s, keyframe=keyframe)
        if self.vitals.health is Health.FROZEN:
            self._count_unseen(picture, DropCause.FROZEN)
        elif picture.behind_s > self._limit_s:
            self._count_unseen(picture, DropCause.BEHIND)
        elif picture.shown and picture.media_s is not None and not self._cap.lets_through(picture.media_s):
            self.outlet.passed_over(DropCause.RATE_CAP)
        elif picture.shown:
            self._put(decoded, picture, decoded_s, keyframe=keyframe)

    def _put(self, decoded: DecodedFrame, picture: EncodedFrame, decoded_s: float, *, keyframe: bool) -> None:
        self.outlet.put(
            Frame(
                camera=self._stream.name,
                sequence=-1,  # the outlet numbers it
                size_wh=decoded.size_wh,
                colour=colour_override(self._stream, decoded.colour) or decoded.colour,
                picture=decoded.picture,
                arrived_s=picture.arrived_s,
                arrived_utc=picture.arrived_utc,
                decoded_s=decoded_s,
                camera_utc=picture.camera_utc,
                pts_s=decoded.pts_s,
                keyframe=keyframe,
                behind_s=picture.behind_s,
            )
        )

    def _note_frame(self, decoded: DecodedFrame, arrived_s: float, now_s: float, *, keyframe: bool) -> None:
        vitals = self.vitals
        first = vitals.last_frame_s is None
        if first:
            vitals.resumed_s = max(vitals.resumed_s, now_s)  # it may have been held back
        vitals.saw_frame(arrived_s)
        before = vitals.health
        if self._health.due(now_s, keyframe=keyframe):
            signature = self._sign_picture(decoded.picture)
            if signature is not None:
                health = self._health.update(now_s, signature, keyframe=keyframe)
                vitals.still_since_s = self._health.still_since_s  # first: the supervisor looks when the health changes
                vitals.health = health
        if first or self.call_on_frame or vitals.health is not before:
            self.call_on_frame = False
            self._changed()

    def _remember(self, picture: EncodedFrame) -> None:
        """Keep when a picture arrived until it leaves the decoder, which may reorder."""
        if len(self._arrivals) >= _MAX_REMEMBERED:
            self._arrivals.clear()
        if (pts_s := _pts_s(picture)) is not None:
            self._arrivals[_ticks(pts_s)] = picture

    def _recall(self, decoded: DecodedFrame, newest: EncodedFrame) -> EncodedFrame:
        if decoded.pts_s is not None and math.isfinite(decoded.pts_s):
            self._shown_ticks = _ticks(decoded.pts_s)
        else:  # FFmpeg's flush gives pictures without a clock, in the order of display
            later = (ticks for ticks in self._arrivals if ticks > self._shown_ticks)
            self._shown_ticks = min(later, default=self._shown_ticks)
        return self._arrivals.pop(self._shown_ticks, newest)


def _pts_s(picture: EncodedFrame) -> float | None:
    packet = picture.packet
    return None if packet.pts is None else packet.pts * float(packet.time_base)


def _ticks(pts_s: float) -> int:
    """Return a presentation time in units of 10 microseconds: equal however it was computed."""
    return round(pts_s * 1e5)
