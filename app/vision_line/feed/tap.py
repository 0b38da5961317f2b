# SPDX-License-Identifier: AGPL-3.0-or-later
"""One camera's encoded frames on their way to the feed, as its own thread sees them."""

from __future__ import annotations

from collections.abc import Callable

from vision_line.encoded import EncodedFrame
from vision_line.feed.headers import TappedFrame, VideoFacts, video_facts
from vision_line.feed.wants import FrameChoice
from vision_line.ports import EncodedVideo

#: Keyframes that are remembered: some seconds of them, or of a camera that sends nothing else two seconds.
_REMEMBERED = 64


class FeedTap:
    """Hands over what somebody wants of one camera; with nobody it costs one test of an attribute.

    `wanted` and `wakes`, whether frames go at once, are set by the feed's thread. Connections are numbered as the feed
    sees them: when nobody wanted frames for a while, the same connection may get another number.
    """

    def __init__(self, camera: str, post: Callable[[TappedFrame, bool], bool]) -> None:
        """`post` hands a frame over, at once or with what comes next; it never waits, and says if there was room."""
        self.camera = camera
        self.wanted: FrameChoice | None = None
        self.wakes = True
        self._post = post
        self._origin: EncodedVideo | None = None
        self._video = VideoFacts(0, "", (0, 0), b"")
        self._lost = 0
        self._keyframes: dict[tuple[float, float | None], None] = {}  # the newest last; another thread looks into it

    def saw(self, encoded: EncodedFrame) -> None:
        """Take a frame; called in the camera's thread, before it is decoded."""
        if self.wanted:
            self._hand_over(encoded)

    def saw_keyframe(self, arrived_s: float, pts_s: float | None) -> bool:
        """Whether the frame of these times came as a keyframe while somebody wanted frames; any thread."""
        return (arrived_s, pts_s) in self._keyframes

    def let_go(self) -> None:
        """Forget the connection: nobody wants its frames."""
        self._origin = None

    def _hand_over(self, encoded: EncodedFrame) -> None:
        origin = encoded.origin
        if origin is None or (encoded.packet is None and not encoded.damaged):
            return  # a flush
        video = self._video if origin is self._origin else self._begin(origin)
        if encoded.keyframe:
            self._remember((encoded.arrived_s, encoded.pts_s))
        if encoded.keyframe or encoded.damaged or self.wanted is FrameChoice.ALL:
            frame = TappedFrame(
                camera=self.camera,
                video=video,
                packet=encoded.packet,
                keyframe=encoded.keyframe,
                damaged=encoded.damaged,
                arrived_s=encoded.arrived_s,
                arrived_utc=encoded.arrived_utc,
                pts_s=encoded.pts_s,
                camera_utc=encoded.camera_utc,
                lost=self._lost,
            )
            self._lost += not self._post(frame, self.wakes)

    def _remember(self, keyframe: tuple[float, float | None]) -> None:
        self._keyframes[keyframe] = None
        if len(self._keyframes) > _REMEMBERED:
            del self._keyframes[next(iter(self._keyframes))]

    def _begin(self, origin: EncodedVideo) -> VideoFacts:
        self._origin = origin
        self._video = video = video_facts(origin, self._video.connection + 1)
        return video
