# SPDX-License-Identifier: AGPL-3.0-or-later
"""The overlay: a video per camera of its inspected frames with their boxes, playable up to the moment of a crash.

Exactly the frames that were inspected are in it, at the times they arrived (variable frame rate), save those dropped
because the encoder could not follow; drops are counted. A video is a fragmented MP4: what a finished fragment (about
a second) holds can be played even if the program is killed. A new file begins when the frame's size changes, after a
gap (the camera was away) and every hour.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from vision_line.errors import SourceError
from vision_line.frames import DefectEvent, EventPhase, Inspection
from vision_line.ports import OverlayStatus
from vision_line.records.annotate import (
    Image,
    ImageReader,
    Mark,
    bgr_of,
    caption_of,
    draw_marks,
    mark_of,
    marks_of,
    with_caption,
)

logger = logging.getLogger(__name__)

#: Frames that may wait for the encoder, of all cameras together. Each holds on to a decoder's frame.
QUEUE_FRAMES = 32
#: The longest time between two keyframes, hence the length of a fragment: what a crash can lose.
FRAGMENT_S = 1.0
#: A longer gap between two inspected frames begins a new file.
GAP_S = 5.0
#: The longest file.
FILE_S = 3600.0
#: How long a camera's overlay rests after its file could not be written.
RETRY_S = 5.0
#: An event's mark stays on the frame for this long after its last change.
MARK_S = 0.5

_TIME_BASE = Fraction(1, 90_000)
_TROUBLE = (SourceError, OSError, av.FFmpegError, ValueError, cv2.error)


class _Video:
    """One open file; owns its container. Used by the overlay's thread."""

    def __init__(self, path: Path, image: Image, started_s: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.shape = image.shape
        self.started_s = started_s
        self.newest_s = started_s
        self._newest_pts = -1
        self._next_key_s = started_s
        # flush_packets: a fragment goes to the file when it is complete, not when a buffer is full.
        self._container = av.open(
            str(path),
            "w",
            format="mp4",
            options={"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"},
        )
        height, width = image.shape[:2]
        stream = self._container.add_stream(
            "libx264", options={"preset": "veryfast", "crf": "24", "tune": "zerolatency"}
        )
        stream.width, stream.height = width + width % 2, height + height % 2  # 4:2:0 has whole pairs of pixels
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = _TIME_BASE
        stream.codec_context.thread_count = 1
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_range = ColorRange.MPEG
        self._stream: VideoStream = stream

    def write(self, image: Image, at_s: float) -> None:
        """Append a frame shown from `at_s` (monotonic)."""
        height, width = image.shape[:2]
        even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(even, format="bgr24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        self._newest_pts = max(self._newest_pts + 1, round((at_s - self.started_s) / _TIME_BASE))
        frame.pts, frame.time_base = self._newest_pts, _TIME_BASE
        frame.pict_type = PictureType.NONE
        if at_s >= self._next_key_s:
            frame.pict_type = PictureType.I
            self._next_key_s = at_s + FRAGMENT_S
        self._container.mux(self._stream.encode(frame))
        self.newest_s = at_s

    def close(self) -> None:
        """Write what the encoder holds, and the file's end."""
        try:
            self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()


class OverlayWriter:
    """Owns a folder of videos and the one thread that writes them; trouble with them never reaches inspection."""

    def __init__(self, directory: Path, *, read_image: ImageReader = bgr_of) -> None:
        """Write below `directory`: `<camera>/<UTC time of the first frame>.mp4`."""
        self._directory = directory
        self._read_image = read_image
        self._videos: dict[str, _Video] = {}
        self._marks: dict[str, dict[str, DefectEvent]] = {}
        self._resting_until_s: dict[str, float] = {}
        self._problems: dict[str, str] = {}
        self._written = 0
        self._dropped = 0
        self._queue: deque[tuple[Inspection, Sequence[DefectEvent]]] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="overlay", daemon=True)
        self._thread.start()

    def status(self) -> OverlayStatus:
        """Return how the overlay fares now; from any thread."""
        return OverlayStatus(self._written, self._dropped, "; ".join(list(self._problems.values())))

    def offer(self, inspection: Inspection, events: Sequence[DefectEvent]) -> None:
        """Take an inspected frame and its event changes; never waits, drops when the encoder is behind."""
        with self._changed:
            if self._closing or len(self._queue) >= QUEUE_FRAMES:
                self._dropped += 1
                return
            self._queue.append((inspection, events))
            self._changed.notify()

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what waits and end the files, for at most `timeout_s`; idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            logger.warning(
                "overlay: the encoder did not finish within %.0f s; the videos lack their last frames", timeout_s
            )

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    break
                inspection, events = self._queue.popleft()
            written = self._write(inspection, events)
            with self._changed:
                self._written += written
                self._dropped += not written
        for camera in list(self._videos):
            self._end(camera)

    def _write(self, inspection: Inspection, events: Sequence[DefectEvent]) -> bool:
        """Write one frame; False if it is in no video."""
        frame = inspection.frame
        if frame.captured_s < self._resting_until_s.get(frame.camera, float("-inf")):
            return False
        try:
            image = self._read_image(frame)
            draw_marks(image, marks_of(inspection.detections, self._event_marks(inspection, events)))
            image = with_caption(image, caption_of(frame.camera, frame.captured_utc, f"#{frame.sequence}"))
            self._video_for(inspection, image).write(image, frame.captured_s)
        except _TROUBLE as exc:
            self._rest(frame.camera, frame.captured_s, exc)
            return False
        self._problems.pop(frame.camera, None)
        return True

    def _event_marks(self, inspection: Inspection, changes: Sequence[DefectEvent]) -> list[Mark]:
        shown = self._marks.setdefault(inspection.frame.camera, {})
        for event in changes:
            if event.phase is EventPhase.END:
                shown.pop(event.event_id, None)
            else:
                shown[event.event_id] = event
        for event in list(shown.values()):
            if inspection.frame.captured_s - event.last_seen_s > MARK_S:
                del shown[event.event_id]
        return [mark_of(event, event.last_observation) for event in shown.values()]

    def _video_for(self, inspection: Inspection, image: Image) -> _Video:
        frame = inspection.frame
        video = self._videos.get(frame.camera)
        if video is not None and _continues(video, image, frame.captured_s):
            return video
        self._end(frame.camera)
        moment = datetime.fromtimestamp(frame.captured_utc, UTC)
        name = f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03d}Z.mp4"
        self._videos[frame.camera] = video = _Video(self._directory / frame.camera / name, image, frame.captured_s)
        return video

    def _end(self, camera: str) -> None:
        video = self._videos.pop(camera, None)
        if video is None:
            return
        try:
            video.close()
        except _TROUBLE as exc:
            logger.warning("camera %s: the overlay video %s is incomplete: %s", camera, video.path, exc)

    def _rest(self, camera: str, now_s: float, exc: Exception) -> None:
        """Give up the camera's file and try a new one later; said once for each outage."""
        if camera not in self._problems:
            logger.warning(
                "camera %s: no overlay video can be written, retrying every %.0f s: %s", camera, RETRY_S, exc
            )
        self._problems[camera] = f"overlay of {camera}: {exc}"
        self._resting_until_s[camera] = now_s + RETRY_S
        self._end(camera)


def _continues(video: _Video, image: Image, at_s: float) -> bool:
    """Say whether a frame at `at_s` belongs into `video`."""
    return image.shape == video.shape and 0 < at_s - video.newest_s <= GAP_S and at_s - video.started_s <= FILE_S
