# SPDX-License-Identifier: AGPL-3.0-or-later
"""Follows the feed in a thread while somebody watches: connects, asks for what is watched, connects anew."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vision_line.errors import RunError
from vision_line.feed.feed_client import FeedClient
from vision_line.feed.protocol import FeedMessage
from vision_line.feed.wants import EVERY_CAMERA

logger = logging.getLogger(__name__)

#: How long after the feed ended, or there was none, it is tried again, in seconds.
RETRY_S = 1.0
#: How soon another wish is noticed where nothing comes.
_POLL_S = 0.25
#: Pages say each second how the run is. Each snapshot costs both sides as much as several frames.
SNAPSHOTS_APART_S = 1.0
#: How long the run may let results, snapshots and keyframes wait, in seconds. They come with the next frame of a camera
#: in focus, and its boxes are still there before their frame is painted; with tiles alone they come together.
FOCUSED_PATIENCE_S, TILES_PATIENCE_S = 0.05, 0.25
#: Where the run needs the processor, frames in focus come by twos and threes: half as many turns of its threads and of
#: ours. They are painted so much later at most; the aim is 300 ms.
BUSY_PATIENCE_S = 0.08
#: Without a message for so long the run hangs.
SILENT_S = 3.0


@dataclass(frozen=True, slots=True)
class LiveWish:
    """What of the feed is watched: tiles of some cameras, `*` for all, and all frames of others."""

    tiles: frozenset[str] = frozenset()
    focused: frozenset[str] = frozenset()

    def has_tiles_of(self, camera: str) -> bool:
        """Whether a camera's tiles are watched."""
        return camera in self.tiles or EVERY_CAMERA in self.tiles

    @property
    def frames(self) -> dict[str, str]:
        """As the feed's client takes it; a camera's keyframes are among all its frames."""
        return {**dict.fromkeys(self.tiles, "keyframes"), **dict.fromkeys(self.focused, "all")}

    @property
    def results(self) -> frozenset[str]:
        """Cameras whose boxes are shown on every frame; on tiles only those of keyframes are."""
        return self.focused

    def patience_s(self, *, is_busy: bool) -> float:
        """How long what is no frame in focus may wait; those too where the run `is_busy`."""
        if not self.focused:
            return TILES_PATIENCE_S
        return BUSY_PATIENCE_S if is_busy else FOCUSED_PATIENCE_S


#: Nobody watches.
NOTHING = LiveWish()


class FeedFollower:
    """A thread that follows the feed for one wish after the other, until there is none."""

    def __init__(
        self,
        directory: Path,
        take: Callable[[list[FeedMessage]], None],
        lost: Callable[[str], None],
        wish: LiveWish,
        is_busy: Callable[[], bool] = bool,
    ) -> None:
        """Begin at once. `take` gets messages that came together, `lost` why there is no feed.

        `is_busy` says whether the run needs the processor. All are called in the thread.
        """
        self._directory = directory
        self._take = take
        self._lost = lost
        self._wish: LiveWish | None = wish
        self._is_busy = is_busy
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="desk-feed", daemon=True)
        self._thread.start()

    def wish(self, wish: LiveWish) -> None:
        """Ask for something else from now on; any thread."""
        self._wish = wish

    def close(self) -> None:
        """End soon; nothing is taken any more after a message that may be under way. Any thread."""
        self._wish = None
        self._ended.set()

    def _run(self) -> None:
        while self._wish is not None:
            try:
                with FeedClient(self._directory) as client:
                    reason = self._follow(client)
            except RunError as exc:
                reason = str(exc)
            except Exception:
                logger.exception("live video failed, and begins anew")
                reason = "this is a fault of the desk; its terminal says more"
            if self._wish is not None:
                self._lost(reason)
            self._ended.wait(RETRY_S)

    def _follow(self, client: FeedClient) -> str:
        """Hand messages over until the feed ends or nobody watches; return why."""
        asked: tuple[LiveWish, bool] | None = None
        silent_s = 0.0
        while (wish := self._wish) is not None:
            is_busy = self._is_busy()
            if (wish, is_busy) != asked:
                client.want(
                    snapshots=True,
                    results=wish.results,
                    keyframe_results=wish.tiles,
                    frames=wish.frames,
                    patience_s=wish.patience_s(is_busy=is_busy),
                    frames_wait=is_busy,
                    snapshots_apart_s=SNAPSHOTS_APART_S,
                    brief=True,
                )
                asked = wish, is_busy
            try:
                message = client.receive(_POLL_S)
            except TimeoutError:
                silent_s += _POLL_S
                if silent_s >= SILENT_S:
                    return "the run hangs: it has said nothing for some seconds"
                continue
            if message is None:
                return client.reason
            silent_s = 0.0
            self._take([message, *client.waiting()])
        return "nobody watches"
