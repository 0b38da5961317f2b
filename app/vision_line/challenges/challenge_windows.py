# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which camera-times were challenge parts: what was seen first in one of them is no product of the line.

An event belongs to a challenge if it was first seen in such a time. One that began before goes on being production's.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from vision_line.challenges.challenge_history import ChallengeHistory, ChallengeWindow, merged, read_history
from vision_line.records.records import Records

#: What `ChallengeWindows.teach` adds to SQL: `is_challenge(camera, first_seen_utc)`.
SQL_FUNCTION = "is_challenge"
#: A part passes the cameras so long before or after its trigger, at the most: about then `challenge_at` asks.
ABOUT_S = 600.0
_ANY_FUNCTION, _AT_FUNCTION = "any_challenge", "challenge_at"
#: A condition on events `t`: of products. Where there are no windows, SQLite finds that out once and asks nothing for
#: each of a million events.
OF_PRODUCTS = "(NOT any_challenge() OR NOT is_challenge(t.camera, t.first_seen_utc))"


class ChallengeWindows:
    """The windows of some time, by camera; asked in a microsecond."""

    def __init__(self, windows: Iterable[ChallengeWindow]) -> None:
        self._windows = sorted(windows, key=lambda window: (window.camera, window.from_utc))
        #: By camera, begin and end of times that do not overlap.
        self._times = {camera: merged(own) for camera, own in _by_camera(self._windows).items()}
        self._anywhere = merged((window.from_utc - ABOUT_S, window.to_utc + ABOUT_S) for window in self._windows)

    def __iter__(self) -> Iterator[ChallengeWindow]:
        return iter(self._windows)

    def __len__(self) -> int:
        return len(self._windows)

    def holds(self, camera: str, utc: float) -> bool:
        """Whether a challenge part was passing `camera` at that moment."""
        return _holds(self._times.get(camera, ([], [])), utc)

    def anywhere(self, _lane: str, utc: float) -> bool:
        """Whether a challenge part was passing any camera about that moment, whatever lanes it is of."""
        return _holds(self._anywhere, utc)

    def teach(self, connection: sqlite3.Connection) -> None:
        """Add `is_challenge(camera, first_seen_utc)` and the others to the SQL of this connection: 1 or 0."""
        connection.create_function(SQL_FUNCTION, 2, self.holds, deterministic=True)
        connection.create_function(_AT_FUNCTION, 2, self.anywhere, deterministic=True)
        connection.create_function(_ANY_FUNCTION, 0, lambda: len(self._windows) > 0, deterministic=True)


def teach_challenges(connection: sqlite3.Connection, directory: Path) -> None:
    """Add `is_challenge(camera, first_seen_utc)` for all times; `reviews.sqlite` is read when it is first asked."""
    read: list[ChallengeWindows] = []  # one answer goes by one state of the file

    def windows() -> ChallengeWindows:
        if not read:
            read.append(challenge_windows(directory, 0.0, float("inf")))
        return read[0]

    connection.create_function(SQL_FUNCTION, 2, lambda *event: windows().holds(*event), deterministic=True)
    connection.create_function(_AT_FUNCTION, 2, lambda *part: windows().anywhere(*part), deterministic=True)
    connection.create_function(_ANY_FUNCTION, 0, lambda: len(windows()) > 0, deterministic=True)


def count_challenged(connection: Records, from_utc: float, to_utc: float) -> int:
    """Return how many events of a record file, which was taught, are of challenge parts of this time.

    Raises:
        sqlite3.Error: as it comes.
    """
    sql = """SELECT count(*) FROM events t WHERE t.first_seen_utc >= ? AND t.first_seen_utc < ?
        AND is_challenge(t.camera, t.first_seen_utc)"""
    return int(connection.execute(sql, (from_utc, to_utc)).fetchone()[0])


def challenge_windows(directory: Path, from_utc: float, to_utc: float) -> ChallengeWindows:
    """Return the windows of which some lies in [from_utc, to_utc), by the `reviews.sqlite` of a record directory.

    Raises:
        RunError: the file is damaged, of a newer version, or no one of ours.
    """
    every = _indexed(read_history(directory))
    if from_utc <= 0.0 and to_utc == float("inf"):
        return every
    return ChallengeWindows(window for window in every if window.from_utc < to_utc and window.to_utc > from_utc)


@lru_cache(maxsize=8)
def _indexed(history: ChallengeHistory) -> ChallengeWindows:
    """Return the windows of all challenges; a history that has nothing new is the same one."""
    return ChallengeWindows(history.windows())


def _by_camera(windows: Iterable[ChallengeWindow]) -> dict[str, list[tuple[float, float]]]:
    times = defaultdict[str, list[tuple[float, float]]](list)
    for window in windows:
        times[window.camera].append((window.from_utc, window.to_utc))
    return times


def _holds(times: tuple[Sequence[float], Sequence[float]], utc: float) -> bool:
    """Whether a moment lies in one of these times, which are begins and ends in their order."""
    index = bisect_right(times[0], utc) - 1
    return index >= 0 and utc < times[1][index]
