# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which event belongs to which challenge part: by the time in which the part passes.

An event counts for one part alone: the one whose window it overlaps most, of equals the one whose middle is nearest.
So two parts in view at once are told apart as long as a defect is nearer to the middle of its own part's window. The
classes are not asked, because that would favour finding what is expected.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PartWindow:
    """The time in which one challenge part passes a camera, on the same clock as the events."""

    part: str
    expected: frozenset[str]  # classes of its defects; none: a good part
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """An event of the line: its class, first and last sight."""

    key: str
    class_name: str
    first_s: float
    last_s: float


@dataclass(frozen=True, slots=True)
class PartPass:
    """One pass of a part and the events that count for it."""

    window: PartWindow
    events: tuple[SeenEvent, ...]

    @property
    def missing(self) -> frozenset[str]:
        """Expected classes that no event has."""
        return self.window.expected - {event.class_name for event in self.events}

    @property
    def found(self) -> bool:
        """Whether a defective part was found with everything that is wrong with it."""
        return bool(self.window.expected) and not self.missing

    @property
    def falsely_rejected(self) -> bool:
        """Whether a good part has events."""
        return not self.window.expected and bool(self.events)


def match_parts(windows: Sequence[PartWindow], events: Collection[SeenEvent]) -> tuple[list[PartPass], list[SeenEvent]]:
    """Return each window's pass, in the order of the windows, and the events that belong to none."""
    belonging = defaultdict(list)
    stray = []
    for event in events:
        index = _window_of(event, windows)
        if index is None:
            stray.append(event)
        else:
            belonging[index].append(event)
    return [PartPass(window, tuple(belonging[index])) for index, window in enumerate(windows)], stray


def _window_of(event: SeenEvent, windows: Sequence[PartWindow]) -> int | None:
    """Return the index of the event's window, None where it lies outside of all."""

    def nearness(index: int) -> tuple[float, float]:
        window = windows[index]
        overlap = min(event.last_s, window.end_s) - max(event.first_s, window.start_s)
        apart = abs(event.first_s + event.last_s - window.start_s - window.end_s) / 2
        return overlap, -apart

    inside = [i for i, window in enumerate(windows) if event.first_s < window.end_s and event.last_s >= window.start_s]
    return max(inside, key=nearness, default=None)
