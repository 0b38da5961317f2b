# SPDX-License-Identifier: AGPL-3.0-or-later
"""From the first who watches to the last who goes: the feed's messages become updates; in the follower's thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from vision_line.desk.live.feed_follower import FeedFollower, LiveWish
from vision_line.desk.live.live_updates import LiveUpdate, NoRun, RunStatus, boxes_of, times_of
from vision_line.desk.live.packager import Packager
from vision_line.desk.live.tile_budget import TileBudget
from vision_line.desk.live.tile_maker import Keyframe, StreamHeader, TileMaker
from vision_line.feed.protocol import FeedMessage


class LiveSession:
    """Follows the feed for a wish, and hands updates to `post` from its threads, until it is closed."""

    def __init__(self, directory: Path, post: Callable[[Sequence[LiveUpdate]], None], wish: LiveWish) -> None:
        self._post = post
        self._wish = wish
        self._headers: dict[str, StreamHeader] = {}
        self._packagers: dict[str, Packager] = {}
        self._budget = TileBudget()
        self._tiles = TileMaker(lambda tile: post((tile,)), self._budget)
        self._follower = FeedFollower(directory, self._take, self._lose, wish, lambda: self._budget.is_busy)

    def wish(self, wish: LiveWish) -> None:
        """Follow something else from now on; any thread."""
        self._wish = wish
        self._follower.wish(wish)

    def close(self) -> None:
        """End; any thread."""
        self._follower.close()
        self._tiles.close()

    def _take(self, messages: Sequence[FeedMessage]) -> None:
        if updates := [update for message in messages for update in self._updates_of(message)]:
            self._post(updates)

    def _updates_of(self, message: FeedMessage) -> Iterator[LiveUpdate]:
        match message.kind:
            case "snapshot":
                self._budget.note_run(message.header["cpu_percent"] or 0.0)
                yield RunStatus(message.header)
            case "result":
                yield boxes_of(message.header)
            case "video":
                said = message.header
                self._headers[said["camera"]] = StreamHeader(said["connection"], said["codec"], message.payload)
            case "frame":
                yield from self._updates_of_frame(message)

    def _lose(self, reason: str) -> None:
        self._headers.clear()
        self._packagers.clear()
        self._post((NoRun(reason),))

    def _updates_of_frame(self, message: FeedMessage) -> Iterator[LiveUpdate]:
        said, wish = message.header, self._wish
        camera = said["camera"]
        header = self._headers[camera]
        if said["keyframe"] and said["intact"] and wish.has_tiles_of(camera):
            self._tiles.offer(Keyframe(camera, header, times_of(said), message.payload))
        if camera in wish.focused:
            packager = self._packagers.setdefault(camera, Packager(camera))
            yield from packager.take(header, message)
        else:
            self._packagers.pop(camera, None)
