# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who watches what: one session with the feed for all browsers, none while nobody watches.

In the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from vision_line.desk.live.feed_follower import LiveWish
from vision_line.desk.live.live_session import LiveSession
from vision_line.desk.live.live_updates import FrameBoxes, LiveUpdate, NoRun, RunStatus, Tile, VideoStart

#: Inspected frames of a camera whose boxes are remembered: a tile is ready after its frame's result, or before.
_REMEMBERED = 64


class LiveWatcher(Protocol):
    """Who watches: a mailbox of one browser."""

    wish: LiveWish

    def put(self, update: LiveUpdate, /) -> None:
        """Take an update; never waits."""


class LiveHub:
    """Hands what the feed says to everybody who watches it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._mailboxes: list[LiveWatcher] = []
        self._session: LiveSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._run: RunStatus | NoRun | None = None
        self._tiles: dict[str, Tile] = {}
        self._starts: dict[str, VideoStart] = {}
        self._boxes: dict[str, deque[FrameBoxes]] = {}

    @contextmanager
    def watched_by(self, mailbox: LiveWatcher) -> Iterator[None]:
        """Have updates put into the mailbox meanwhile; first what is known already."""
        self._loop = asyncio.get_running_loop()
        self._mailboxes.append(mailbox)
        for update in self._known():
            mailbox.put(update)
        self._follow()
        try:
            yield
        finally:
            self._mailboxes.remove(mailbox)
            self._follow()

    @property
    def is_followed(self) -> bool:
        """Whether anything is asked of the feed."""
        return self._session is not None

    @property
    def watchers(self) -> int:
        """How many browsers watch."""
        return len(self._mailboxes)

    def _known(self) -> Iterator[LiveUpdate]:
        if self._run is not None:
            yield self._run
        yield from self._starts.values()
        for tile in self._tiles.values():
            yield tile
            yield from self._boxes.get(tile.camera, ())

    def _follow(self) -> None:
        """Ask the feed for what is watched now."""
        wishes = [mailbox.wish for mailbox in self._mailboxes]
        wish = LiveWish(
            frozenset().union(*(one.tiles for one in wishes)), frozenset().union(*(one.focused for one in wishes))
        )
        self._starts = {camera: start for camera, start in self._starts.items() if camera in wish.focused}
        if self._session is not None and not wishes:
            self._session.close()
            self._session, self._run = None, None
            self._tiles, self._boxes = {}, {}
        elif self._session is not None:
            self._session.wish(wish)
        elif wishes:
            self._session = LiveSession(self._directory, self._post, wish)

    def _post(self, updates: Sequence[LiveUpdate]) -> None:
        """Take updates of a session's threads over into the loop's; one that has ended needs none any more."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._take, updates)

    def _take(self, updates: Sequence[LiveUpdate]) -> None:
        for update in updates:
            self._remember(update)
            for mailbox in self._mailboxes:
                mailbox.put(update)

    def _remember(self, update: LiveUpdate) -> None:
        match update:
            case RunStatus():
                self._run = update
            case NoRun():
                self._run, self._tiles, self._starts, self._boxes = update, {}, {}, {}
            case Tile():
                self._tiles[update.camera] = update
            case VideoStart():
                self._starts[update.camera] = update
            case FrameBoxes():
                self._boxes.setdefault(update.camera, deque(maxlen=_REMEMBERED)).append(update)
