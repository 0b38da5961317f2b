# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a whole journal says of challenges: followed once in each program, and from then on by what is entered behind.

A year of ten cameras is a quarter of a million entries. Of a challenge that is settled only its windows and how often
its parts had their turn are kept.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vision_line.challenges.acts import LineChallenge, followed
from vision_line.challenges.entry_bodies import ChallengeAct
from vision_line.config.file_signature import Signature, lasting_signature
from vision_line.records.side_journal import entries
from vision_line.reviews.reviews_file import FILE_NAME, reading

#: So many entries are read in one transaction: some 50 ms in which a writer waits.
_READ_AT_ONCE = 1000
#: So many journals are kept.
_MOST_KEPT = 8


@dataclass(frozen=True, slots=True)
class ChallengeWindow:
    """A time in which parts of one challenge passed a camera: [from_utc, to_utc)."""

    camera: str
    from_utc: float
    to_utc: float
    challenge: int


@dataclass(frozen=True, slots=True, eq=False)
class ChallengeHistory:
    """A journal up to its entry `number` with this digest; `unsettled` may still be told more of."""

    number: int = 0
    digest: bytes = b""
    unsettled: Mapping[int, LineChallenge] = field(default_factory=dict)
    settled_windows: tuple[ChallengeWindow, ...] = ()
    settled_passes: Mapping[str, int] = field(default_factory=dict)

    def windows(self) -> Iterator[ChallengeWindow]:
        """Give the windows of all challenges."""
        yield from self.settled_windows
        for challenge in self.unsettled.values():
            yield from _windows_of(challenge)

    def part_passes(self) -> Counter[str]:
        """Return how often each part had its turn."""
        return Counter(self.settled_passes) + _passes_of(self.unsettled.values())


_EMPTY = ChallengeHistory()


def read_history(directory: Path) -> ChallengeHistory:
    """Return the history by the `reviews.sqlite` of a record directory; may be asked in any thread.

    Raises:
        RunError: the file is damaged, of a newer version, or no one of ours.
    """
    return _KEPT.read(directory)


def history_in(connection: sqlite3.Connection, before: ChallengeHistory) -> ChallengeHistory:
    """Return the history with what an open `reviews.sqlite` has behind `before`.

    Raises:
        RunError: an entry is none of ours.
        sqlite3.Error: as it comes.
    """
    while (later := _extended(before, connection)) is not before:
        before = later
    return before


class _KeptHistories:
    """The histories that were asked for last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # while one thread follows a journal the others wait for what it finds
        self._kept: OrderedDict[Path, tuple[Signature | None, ChallengeHistory]] = OrderedDict()

    def read(self, directory: Path) -> ChallengeHistory:
        key = directory.absolute()
        with self._lock:
            signature = lasting_signature(directory / FILE_NAME)
            known, history = self._kept.get(key, (None, _EMPTY))
            if signature is None or signature != known:
                history = self._followed(directory, key, history)
                self._keep(key, signature, history)
        return history

    def _followed(self, directory: Path, key: Path, history: ChallengeHistory) -> ChallengeHistory:
        """Follow the journal to its end, in transactions that keep no writer waiting."""
        while True:
            with reading(directory) as connection:
                later = _EMPTY if connection is None else _extended(history, connection)
            if later is history:
                return history
            history = later
            self._keep(key, None, history)

    def _keep(self, key: Path, signature: Signature | None, history: ChallengeHistory) -> None:
        self._kept[key] = signature, history
        self._kept.move_to_end(key)
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)


_KEPT = _KeptHistories()


def _extended(before: ChallengeHistory, connection: sqlite3.Connection) -> ChallengeHistory:
    """Return the history with the next entries, `before` itself where there are none.

    A journal that is another one, as a restored file's, is followed from its beginning.
    """
    newest = connection.execute("SELECT max(number) FROM journal").fetchone()[0] or 0
    if not newest:
        return before if before.number == 0 else _EMPTY
    if before.number and _digest(connection, before.number) != before.digest:
        before = _EMPTY
    if before.number == newest:
        return before
    found = entries(connection, tuple(ChallengeAct), before.number, _READ_AT_ONCE)
    number = found[-1].number if len(found) == _READ_AT_ONCE else newest
    known = followed(before.unsettled, found)
    settled = [one for one in known.values() if one.result is not None or one.aborted_utc is not None]
    over = {one.number for one in settled}
    windows = (window for challenge in settled for window in _windows_of(challenge))
    return ChallengeHistory(
        number,
        _digest(connection, number),
        {one.number: one for one in known.values() if one.number not in over},
        (*before.settled_windows, *windows),
        Counter(before.settled_passes) + _passes_of(settled),
    )


def _digest(connection: sqlite3.Connection, number: int) -> bytes:
    row = connection.execute("SELECT digest FROM journal WHERE number = ?", (number,)).fetchone()
    return bytes(row[0]) if row else b""


def _windows_of(challenge: LineChallenge) -> Iterator[ChallengeWindow]:
    """Give one window for each camera and each row of parts without a pause between them."""
    parts = [(window.start_s, window.end_s) for window in challenge.windows()]
    for begin, end in zip(*merged(parts), strict=True):
        for camera in challenge.begun.cameras:
            yield ChallengeWindow(camera, begin, end, challenge.number)


def _passes_of(challenges: Iterable[LineChallenge]) -> Counter[str]:
    return Counter(window.part for challenge in challenges for window in challenge.windows())


def merged(times: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Return begins and ends of what the times cover, in their order; empty times cover nothing."""
    begins: list[float] = []
    ends: list[float] = []
    for begin, end in sorted(time for time in times if time[0] < time[1]):
        if ends and begin <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            begins.append(begin)
            ends.append(end)
    return begins, ends
