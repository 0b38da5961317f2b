# SPDX-License-Identifier: AGPL-3.0-or-later
"""One keyframe of one camera, whole, for drawing on it; asked of the feed for this alone."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import av
from av.video.reformatter import VideoReformatter

from vision_line.desk.live.tile_maker import KeyframeDecoder, StreamHeader, jpeg_of
from vision_line.errors import RunError
from vision_line.feed.feed_client import FeedClient

#: How long a camera's next keyframe may take; those with a "smart codec" send one every 10 s.
WITHIN_S = 12.0
#: Of the image, in pixels.
LARGEST_WIDTH = 1920
#: So many are taken at once: each is a client of the feed, and those are few. Nobody waits for a turn: whoever waits
#: holds one of the threads that all pages share.
_AT_ONCE = threading.BoundedSemaphore(2)


def next_keyframe(directory: Path, camera: str, within_s: float = WITHIN_S) -> bytes | None:
    """Return the camera's next keyframe as JPEG; None: it sends none, no line runs, or others are being served.

    It waits for the keyframe.
    """
    ends_s = time.monotonic() + within_s
    if not _AT_ONCE.acquire(blocking=False):
        return None
    try:
        with FeedClient(directory) as feed:
            if camera not in feed.hello["cameras"]:
                return None
            feed.want(frames={camera: "keyframes"})
            return _first(feed, ends_s)
    except (RunError, TimeoutError, av.FFmpegError):  # then there is none, which the page says
        return None
    finally:
        _AT_ONCE.release()


def _first(feed: FeedClient, ends_s: float) -> bytes | None:
    decoder: KeyframeDecoder | None = None
    while (message := feed.receive(max(0.01, ends_s - time.monotonic()))) is not None:
        if message.kind == "video":
            decoder = KeyframeDecoder(StreamHeader(0, message.header["codec"], message.payload))
        elif message.kind == "frame" and message.header["intact"] and decoder is not None:
            frame = decoder.decode(message.payload)
            if frame is not None:
                return jpeg_of(frame, LARGEST_WIDTH, VideoReformatter())
    return None
