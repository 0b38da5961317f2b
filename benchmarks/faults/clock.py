# SPDX-License-Identifier: AGPL-3.0-or-later
"""A wall clock that somebody sets, for one program only: Python's `time.time` there adds what a file says."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

#: A row is where it belongs when its two clocks agree so well; a clock is noticed to be set within this time, too.
AGREE_S = 1.0

_SITE = """
import pathlib, time
_true, _file = time.time, pathlib.Path({file!r})
time.time = lambda: _true() + float(_file.read_text())
"""


@dataclass(frozen=True, slots=True)
class Stamped:
    """A moment as a program wrote it down: by the monotonic clock, and by the wall clock."""

    at_s: float
    at_utc: float


@dataclass(frozen=True, slots=True)
class Setting:
    """From `at_s` on the wall clock is ahead of the true one by `offset_s`."""

    at_s: float
    offset_s: float


class WallClock:
    """The wall clock of the programs that are started with `environment`; it starts as the machine's."""

    def __init__(self, folder: Path) -> None:
        """Prepare it in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._file = folder, folder / "offset"
        (folder / "sitecustomize.py").write_text(_SITE.format(file=str(self._file)), encoding="utf-8")
        self.set(0.0)

    def set(self, offset_s: float) -> None:
        """Set it to so much ahead of the machine's."""
        partial = self._folder / "partial"
        partial.write_text(str(offset_s), encoding="utf-8")
        partial.replace(self._file)

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to live by this clock."""
        return {"PYTHONPATH": os.pathsep.join([str(self._folder), os.environ.get("PYTHONPATH", "")])}


def misplaced(rows: Iterable[Stamped], epoch_s: float, settings: Sequence[Setting]) -> int:
    """Return how many rows bear a time that their clock never showed then; `epoch_s`: true UTC - monotonic. Pure."""
    return sum(
        all(abs(row.at_utc - row.at_s - epoch_s - offset_s) > AGREE_S for offset_s in _shown(row.at_s, settings))
        for row in rows
    )


def ambiguous(rows: Iterable[Stamped]) -> int:
    """Return how many rows bear a time at which, by what is written, another row was written before. Pure."""
    latest_utc, count = float("-inf"), 0
    for row in rows:
        count += row.at_utc < latest_utc
        latest_utc = max(latest_utc, row.at_utc)
    return count


def _shown(at_s: float, settings: Sequence[Setting]) -> list[float]:
    """Return how far ahead the clock was within `AGREE_S` of a moment."""
    before = [setting for setting in (Setting(float("-inf"), 0.0), *settings) if setting.at_s <= at_s + AGREE_S]
    return [
        setting.offset_s
        for setting, following in zip(before, [*before[1:], None], strict=True)
        if following is None or following.at_s >= at_s - AGREE_S
    ]
