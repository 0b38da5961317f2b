# SPDX-License-Identifier: AGPL-3.0-or-later
"""One connection to a camera, in its own daemon thread: open, demux, decode, until lost, ended or stopped."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from vision_line.config.models import Stream
from vision_line.encoded import EncodedFrame, EncodedTap
from vision_line.errors import DeviceError, SourceError, SourceErrorCode
from vision_line.frames import Colour, ColourMatrix, ColourRange, DropCause, Frame
from vision_line.ingest.age import FrameAge
from vision_line.ingest.camera_clock import Clocks
from vision_line.ingest.damage import Damage
from vision_line.ingest.error_mapping import describe_fault
from vision_line.ingest.file_timeline import RateCap
from vision_line.ingest.files import open_file
from vision_line.ingest.fingerprint import Fingerprint
from vision_line.ingest.frame_numbers import FrameNumbers, open_frame_numbers
from vision_line.ingest.frame_sink import FrameSink
from vision_line.ingest.health import Health, HealthMonitor
from vision_line.ingest.intake import Intake
from vision_line.ingest.lifecycle import ConnectionStats
from vision_line.ingest.reordering import Reordering
from vision_line.ingest.rtsp import RtspSource
from vision_line.ingest.shedding import DecodeLoad
from vision_line.ingest.source import Source
from vision_line.ports import DecodedFrame, Decoder, EncodedVideo, OpenDecoder

logger = logging.getLogger(__name__)

TakeFingerprint = Callable[[object], Fingerprint | None]

FILE_OPEN_S = 30.0  # a busy disk is waited for: a file has one try only
INTERRUPTION_S = 2.0  # skipping frames of a camera this late interrupts its health check


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """How a session ended: by an error, or at a file's end or a stop (None); `fault` is the bug behind it, if any."""

    error: SourceError | None
    fault: Exception | None = None


def open_source(stream: Stream, stop: threading.Event, clocks: Clocks) -> Source:
    """Open what a stream's URL names; may block.

    Raises:
        SourceError: it cannot be opened.
    """
    return RtspSource(stream, stop, clocks) if stream.is_live else open_file(stream, stop, clocks)


def open_health(stream: Stream) -> HealthMonitor:
    """Make the monitor of a camera's frames; it outlives connections.

    A file cannot freeze, and played as fast as possible its frames' times mean nothing.
    """
    return HealthMonitor(stream.frozen_after_s, may_stand_still=stream.may_stand_still or not stream.is_live)


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
    """Runs one connection. `changed` is called from its thread when the supervisor should check: never per frame."""

    def __init__(
        self,
        *,
        stream: Stream,
        open_decoder: OpenDecoder,
        sink: FrameSink,
        changed: Callable[[], None],
        clocks: Clocks,
        health: HealthMonitor,
        take_fingerprint: TakeFingerprint,
        load: DecodeLoad,
        tap: EncodedTap | None = None,
    ) -> None:
        self.stats = ConnectionStats(started_s=clocks.monotonic())
        self.end: SessionEnd | None = None
        self.sink = sink
        self.call_on_frame = False  # set by the supervisor of a STALE camera, to hear of the next frame at once
        self._stream = stream
        self._name = stream.name
        self._overrides_colour = (stream.colour_matrix, stream.colour_range) != ("auto", "auto")
        self._open_decoder = open_decoder
        self._changed = changed
        self._clocks = clocks
        self._tap = tap
        self._take_fingerprint = take_fingerprint
        self._health = health
        self._started = False
        self._finished = False
        self._decoder: Decoder | None = None
        self._origin: EncodedVideo | None = None
        self._numbered: EncodedVideo | None = None  # the origin whose frame numbers are followed
        self._numbers: FrameNumbers | None = None
        self._load = load
        self._is_live = stream.is_live
        self._limit_s = stream.max_staleness_ms / 1000 if stream.is_live else math.inf
        self._cap = RateCap(stream.inspect_fps)  # a camera's frames are capped by the scheduler
        self._age = FrameAge()
        self._busy_s = 0.0  # since the previous frame, spent on other things than reading
        self._intake = Intake(stream.name, self._limit_s, load, self._count_skipped)
        self._damage = None if stream.is_live else Damage()
        self._reordering = Reordering()
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
                self._let_go()
        except SourceError as exc:
            # without its traceback, which leads to the decoder: the error is remembered until the next connection ends
            return SessionEnd(SourceError(exc.camera, exc.code, exc.detail))
        except DeviceError as exc:  # a frame could not be copied from the device for the health check
            return SessionEnd(SourceError(self._name, SourceErrorCode.FAILED, str(exc)))
        except Exception as exc:  # noqa: BLE001  a fault that one camera provokes must not stop the others
            return SessionEnd(SourceError(self._name, SourceErrorCode.INTERNAL, describe_fault(exc)), exc)
        return SessionEnd(None)

    def _read(self) -> None:
        with closing(open_source(self._stream, self.sink.stop, self._clocks)) as source:
            if self.sink.stop.is_set():
                return
            self._health.begin_connection()
            self.stats.opened_s = self._clocks.monotonic()
            self._changed()
            for encoded in source:
                if self.sink.stop.is_set():
                    return
                began_s = self._clocks.monotonic()
                self._take(encoded)
                self._busy_s += self._clocks.monotonic() - began_s
            if self._damage is not None:
                self._check_damage(self._damage)

    def _check_damage(self, damage: Damage) -> None:
        """Report lost frames of a file as its end; a looped file has none."""
        if damage.unfounded:
            logger.warning(
                "camera %s: the first %d frames need others that are not in the file, and were not inspected",
                self._name,
                damage.unfounded,
            )
        if detail := damage.describe():
            raise SourceError(self._name, SourceErrorCode.CORRUPT, detail)

    def _take(self, encoded: EncodedFrame) -> None:
        if self._damage is not None:
            self._damage.saw(encoded)
        if encoded.counts:
            self.sink.arrived()
        if self._tap is not None:
            self._tap.saw(encoded)
        if encoded.damaged or self._lacks_reference(encoded):
            self._lose()
            if encoded.counts:
                self._drop(DropCause.CORRUPT)
        elif encoded.packet is None:
            self._decode(encoded)
        else:
            self._note_age(encoded)
            for chosen in self._intake.take(encoded, self._age):
                self._decode_chosen(chosen)

    def _lacks_reference(self, encoded: EncodedFrame) -> bool:
        """Whether a frame that this one may refer to is missing."""
        if encoded.origin is not self._numbered:
            self._numbered = encoded.origin
            self._numbers = open_frame_numbers(encoded.origin)
        if self._numbers is None or encoded.packet is None:
            return False
        return self._numbers.breaks(bytes(encoded.packet), keyframe=encoded.keyframe)

    def _note_age(self, encoded: EncodedFrame) -> None:
        """Note in the frame how late it came; a file's frames are never late."""
        if not self._is_live:
            return
        busy_s, self._busy_s = self._busy_s, 0.0
        encoded.behind_s = self._age.saw(encoded.arrived_s, busy_s, encoded.pts_s, encoded.camera_utc, encoded.began_s)

    def _count_skipped(self, cause: DropCause) -> None:
        """Count a frame that will not be shown; one skipped on purpose is still a sign of life."""
        self._drop(cause)
        if cause is not DropCause.CORRUPT and self.stats.last_frame_s is not None:
            self.stats.saw_frame(self._load.seen_s)
        if self._load.behind_s > INTERRUPTION_S:
            self._health.interrupt()

    def _decode_chosen(self, encoded: EncodedFrame) -> None:
        if self._intake.awaits_key and not encoded.keyframe:  # a frame that it refers to could not be decoded
            self._count_unseen(encoded, DropCause.CORRUPT)
            return
        if encoded.origin is None:  # never decoded by another video's decoder, nor passed over
            raise ValueError("found an encoded frame without the video that it belongs to")
        if encoded.origin is not self._origin:
            self._change_decoder(encoded.origin)
        began_s = self._clocks.monotonic()
        self._decode(encoded)
        self._intake.decoded(self._clocks.monotonic() - began_s)

    def _change_decoder(self, origin: EncodedVideo) -> None:
        self._close_decoder()
        self._reordering.clear()
        self._origin = origin
        self._decoder = self._open_decoder(self._name, origin, colour_override(self._stream))

    def _let_go(self) -> None:
        """Release frames and the codec: a connection may be remembered for longer than it lasts."""
        self._origin = self._numbered = self._numbers = None
        self._reordering.clear()
        self._intake.let_go()

    def _close_decoder(self) -> None:
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    def _decode(self, encoded: EncodedFrame) -> None:
        if self._decoder is None:
            return
        packet, encoded.packet = encoded.packet, None  # it would be kept for as long as the frame is remembered
        if packet is not None:
            self._reordering.enter(encoded)
        try:
            for decoded in self._decoder.decode(packet):
                self._post(decoded, encoded)
        except SourceError as exc:
            if exc.code is not SourceErrorCode.CORRUPT:
                raise
            self._lose()
            self._count_unseen(encoded, DropCause.CORRUPT)
            encoded.shown = False
            if packet is not None:
                self._reordering.refuse()
        if packet is None:
            self._reordering.end()
            self._show_released()

    def _lose(self, place: int | None = None) -> None:
        """Go on at a keyframe: there is damage, of the decoded frame at `place` or of one that cannot be decoded."""
        self._intake.lose()
        for later in self._reordering.lose(place):
            self._count_unseen(later, DropCause.CORRUPT)
            later.shown = False

    def _drop(self, cause: DropCause) -> None:
        self.sink.dropped(cause)
        if cause is DropCause.CORRUPT and self._damage is not None:
            self._damage.lost()

    def _count_unseen(self, encoded: EncodedFrame, cause: DropCause) -> None:
        if encoded.counts and encoded.shown:
            self._drop(cause)
        if cause is DropCause.CORRUPT and encoded.on_damage is not None:
            encoded.on_damage()

    def _post(self, decoded: DecodedFrame, newest: EncodedFrame) -> None:
        place, encoded = self._reordering.leave(decoded, newest)
        if self._reordering.is_lost(place, decoded):
            self._count_unseen(encoded, DropCause.CORRUPT)
            if decoded.corrupt:
                self._lose(place)
        elif self._reordering.waits(place):
            self._reordering.hold(place, decoded, encoded)
        else:
            self._show(decoded, encoded)
        if self._reordering.holds:
            self._show_released()

    def _show_released(self) -> None:
        for decoded, encoded in self._reordering.release():
            self._show(decoded, encoded)

    def _show(self, decoded: DecodedFrame, encoded: EncodedFrame) -> None:
        keyframe = decoded.keyframe or encoded.keyframe
        decoded_s = self._clocks.monotonic()
        is_news = False
        if encoded.shown or self.stats.last_frame_s is not None:  # frames stored before it tell no rate
            is_news = self._note_frame(decoded, encoded.arrived_s, decoded_s, keyframe=keyframe)
        if self.stats.health is Health.FROZEN:
            self._count_unseen(encoded, DropCause.FROZEN)
        elif encoded.behind_s > self._limit_s:
            self._count_unseen(encoded, DropCause.BEHIND)
        elif encoded.shown and encoded.media_s is not None and not self._cap.lets_through(encoded.media_s):
            self.sink.skipped(DropCause.RATE_CAP)
        elif encoded.shown:
            self._put(decoded, encoded, decoded_s, keyframe=keyframe)
        if is_news:  # not before the frame waits in the mailbox: a run's start asks the first ones for their sizes
            self._changed()

    def _put(self, decoded: DecodedFrame, encoded: EncodedFrame, decoded_s: float, *, keyframe: bool) -> None:
        said = decoded.colour
        self.sink.put(
            Frame(
                self._name,
                -1,  # the sink numbers it
                decoded.size_wh,
                (colour_override(self._stream, said) or said) if self._overrides_colour else said,
                decoded.data,
                encoded.arrived_s,
                arrived_utc=encoded.arrived_utc,
                decoded_s=decoded_s,
                camera_utc=encoded.camera_utc,
                pts_s=decoded.pts_s,
                keyframe=keyframe,
                behind_s=encoded.behind_s,
            )
        )

    def _note_frame(self, decoded: DecodedFrame, arrived_s: float, now_s: float, *, keyframe: bool) -> bool:
        """Note that a frame came, and return whether the supervisor should check."""
        stats = self.stats
        first = stats.last_frame_s is None
        if first:
            stats.resumed_s = max(stats.resumed_s, now_s)  # it may have been held back
        stats.saw_frame(arrived_s)
        before = stats.health
        if self._health.due(now_s, keyframe=keyframe):
            fingerprint = self._take_fingerprint(decoded.data)
            if fingerprint is not None:
                health = self._health.update(now_s, fingerprint, keyframe=keyframe)
                stats.still_since_s = self._health.still_since_s  # before the health: a change of that is acted on
                stats.health = health
        if first or self.call_on_frame or stats.health is not before:
            self.call_on_frame = False
            return True
        return False
