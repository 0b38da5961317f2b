# SPDX-License-Identifier: AGPL-3.0-or-later
"""Opens a camera once and says what it is: for `vision-line check --probe` and `vision-line init`."""

from __future__ import annotations

import itertools
import queue
from collections.abc import Callable
from dataclasses import dataclass, replace

from vision_line.config.models import Stream
from vision_line.encoded import EncodedTap
from vision_line.errors import SourceError, SourceErrorCode
from vision_line.frames import Colour, DropCause, Frame
from vision_line.ingest.camera_clock import Clocks
from vision_line.ingest.frame_sink import FrameSink
from vision_line.ingest.mailbox import NewestFrame
from vision_line.ingest.session import FILE_OPEN_S, Session, open_health
from vision_line.ingest.shedding import DecodeLoad
from vision_line.ingest.stream_meter import SentVideo, StreamMeter
from vision_line.ports import Decoder, EncodedVideo, OpenDecoder
from vision_line.words import one_line

_FRAMES = 10  # enough to tell the frame rate
#: A camera whose next keyframe takes longer than this has rare ones, however rare.
WATCH_S = 10.0
_CHECK_AGAIN_S = 0.5  # frames that are not decoded wake nobody


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What was found; `code` and `detail` are set where the camera cannot be used, the rest as far as it came."""

    camera: str
    codec: str | None = None
    size_wh: tuple[int, int] | None = None
    fps: float | None = None
    time_to_first_frame_s: float | None = None
    colour: Colour | None = None
    code: SourceErrorCode | None = None
    detail: str = ""

    @property
    def trouble(self) -> str:
        """Code and detail in one line, "" where all is well."""
        return "" if self.code is None else one_line(f"{self.code}: {self.detail}")


@dataclass(frozen=True, slots=True)
class Examination:
    """A probe that went on for a while: what was found, what was sent, and the newest frame (None: there was none)."""

    found: ProbeResult
    sent: SentVideo
    frame: Frame | None


def probe_file(stream: Stream, open_decoder: OpenDecoder) -> ProbeResult:
    """Open the file of `stream` and decode its first frames, as fast as they come. Blocks."""
    return probe(stream.model_copy(update={"paced": False, "loop": False}), open_decoder, FILE_OPEN_S)


def probe(stream: Stream, open_decoder: OpenDecoder, timeout_s: float) -> ProbeResult:
    """Open `stream`, decode a few frames and close it again, within `timeout_s`. Blocks; call it in a thread.

    A connection that hangs is left behind in a daemon thread that can do nothing any more.
    """
    return _Probe(stream, open_decoder).result(timeout_s)


def examine(stream: Stream, open_decoder: OpenDecoder, timeout_s: float, watch_s: float = WATCH_S) -> Examination:
    """Probe `stream`, and go on until its keyframes and its clock are known, for at most `watch_s`. Blocks.

    What a file sends says nothing about a camera: it is probed only.
    """
    meter = StreamMeter()
    probing = _Probe(stream, open_decoder, meter)
    found = probing.result(timeout_s, lambda: not meter.sent.is_telling, watch_s if stream.is_live else 0.0)
    return Examination(found, meter.sent, probing.newest)


class _Probe:
    """One probing: a session whose frames come here; `newest` is the last of them."""

    def __init__(self, stream: Stream, open_decoder: OpenDecoder, tap: EncodedTap | None = None) -> None:
        self.newest: Frame | None = None
        self._clocks = Clocks()
        self._frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._mailbox = NewestFrame(self._forward)
        self._found = ProbeResult(stream.name)
        self._sink = FrameSink(self._mailbox, itertools.count())
        self._session = Session(
            stream=stream,
            open_decoder=self._noting_codec(open_decoder),
            sink=self._sink,
            changed=self._on_end,
            clocks=self._clocks,
            health=open_health(stream),
            take_fingerprint=lambda _frame: None,
            load=DecodeLoad(),
            tap=tap,
        )

    def result(
        self, timeout_s: float, wants_more: Callable[[], bool] = lambda: False, watch_s: float = 0.0
    ) -> ProbeResult:
        """Wait for the first frames, then while more are wanted, for at most `watch_s`; end the session."""
        started_s = self._clocks.monotonic()
        self._session.start()
        frames: list[Frame] = []
        while len(frames) < _FRAMES and (left_s := started_s + timeout_s - self._clocks.monotonic()) > 0:
            frame = self._next(left_s)
            if frame is None:
                break
            frames.append(frame)
        if frames and watch_s > 0:
            self._watch(wants_more, watch_s)
        self._sink.detach(DropCause.SHUTDOWN)
        return self._describe(frames, started_s, timeout_s)

    def _watch(self, wants_more: Callable[[], bool], watch_s: float) -> None:
        ends_s = self._clocks.monotonic() + watch_s
        while wants_more() and (left_s := ends_s - self._clocks.monotonic()) > 0:
            if self._next(min(left_s, _CHECK_AGAIN_S)) is None and self._session.end is not None:
                return

    def _describe(self, frames: list[Frame], started_s: float, timeout_s: float) -> ProbeResult:
        end = self._session.end
        if frames:
            first, last = frames[0], frames[-1]
            span_s = last.arrived_s - first.arrived_s
            return replace(
                self._found,
                size_wh=first.size_wh,
                fps=_fps(frames) or ((len(frames) - 1) / span_s if span_s > 0 else None),
                time_to_first_frame_s=first.decoded_s - started_s,
                colour=first.colour,
            )
        if end is not None and end.error is not None:
            return replace(self._found, code=end.error.code, detail=end.error.detail)
        error = self._why_nothing(timeout_s, ended=end is not None)
        return replace(self._found, code=error.code, detail=error.detail)

    def _why_nothing(self, timeout_s: float, *, ended: bool) -> SourceError:
        camera, damaged = self._found.camera, self._mailbox.counts().dropped.get(DropCause.CORRUPT, 0)
        if damaged:
            return SourceError(camera, SourceErrorCode.CORRUPT, f"all {damaged} frames that came are damaged")
        if ended:
            return SourceError(camera, SourceErrorCode.NO_VIDEO, "it ended without a frame")
        return SourceError(camera, SourceErrorCode.TIMEOUT, f"no frame within {timeout_s:g} s")

    def _next(self, timeout_s: float) -> Frame | None:
        try:
            frame = self._frames.get(timeout=timeout_s)
        except queue.Empty:
            return None
        self.newest = frame or self.newest
        return frame

    def _forward(self) -> None:
        """Take the frame out of the mailbox at once, in the session's thread: a probe wants every frame."""
        self._frames.put(self._mailbox.take())

    def _on_end(self) -> None:
        if self._session.end is not None:
            self._frames.put(None)

    def _noting_codec(self, open_decoder: OpenDecoder) -> OpenDecoder:
        def noting(camera: str, stream: EncodedVideo, colour: Colour | None) -> Decoder:
            self._found = replace(self._found, codec=stream.codec_context.name)
            return open_decoder(camera, stream, colour)

        return noting


def _fps(frames: list[Frame]) -> float | None:
    """Return the frame rate by the stream's own times: arrivals come in bursts at the start."""
    times = [frame.pts_s for frame in frames if frame.pts_s is not None]
    if len(times) < 2 or times[-1] <= times[0]:
        return None
    return (len(times) - 1) / (times[-1] - times[0])
