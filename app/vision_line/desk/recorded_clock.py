# SPDX-License-Identifier: AGPL-3.0-or-later
"""The plant's clock as the records say: `[shifts]` that the journal has in force, read again now and then."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import ValidationError

from vision_line.config.models import ShiftSettings
from vision_line.desk.boxes import each_box, present_boxes
from vision_line.desk.local_time import PlantClock
from vision_line.desk.record_reader import DeskSource, NoRecordsError
from vision_line.errors import RunError, VisionLineError
from vision_line.quality.shifts import ShiftPlan
from vision_line.records.configuration_journal import in_force_of
from vision_line.records.records import Records

logger = logging.getLogger(__name__)

#: What the journal calls `[shifts]`.
SHIFTS = "section/shifts"
#: So long what was read is taken to hold, in seconds: a change of `[shifts]` is seen after this.
_HOLDS_S = 10.0


def recorded_shifts(connection: Records) -> ShiftPlan | None:
    """Return the shifts that the journal has in force, None where it has none.

    Raises:
        RunError: what it says of them cannot be read.
        Error: the database's, as it comes.
    """
    found = in_force_of(connection, SHIFTS)
    if found is None:
        return None
    try:
        return ShiftSettings.model_validate(found).plan
    except (ValidationError, ValueError) as exc:
        raise RunError("the shifts in these records cannot be read; vision-line verify says more") from exc


def clock_of(connection: Records) -> PlantClock:
    """Return the plant's clock, the machine's where the journal names no shifts; raises as `recorded_shifts` does."""
    shifts = recorded_shifts(connection)
    return PlantClock() if shifts is None else PlantClock(shifts.zone, shifts)


def clock_of_all(connection: Records) -> tuple[PlantClock, str]:
    """Return the clock of all boxes that the present answer is about, and which of them cannot be read, "" none.

    Where boxes name different shifts it is what most of them name, and of as many the first box's by its name. On a
    box's own desk, and of one box, it is that box's.

    Raises:
        RunError: there is one box, and its shifts cannot be read.
        Error: the database's, as it comes.
    """
    boxes = present_boxes()
    if boxes.box or not boxes.is_central:
        return clock_of(connection), ""
    named: list[PlantClock] = []
    problems = []
    for box, records in each_box(connection):
        try:
            clock = clock_of(records)
        except RunError as exc:
            problems.append(f"{box}: {exc}")
            continue
        named += [clock] if clock.shifts is not None else []
    return max(named, key=named.count, default=PlantClock()), "; ".join(problems)


@dataclass
class _Known:
    """What was read of one box's clock, or of all boxes', until when it holds, and the problem that was logged."""

    clock: PlantClock = field(default_factory=PlantClock)
    until_s: float = float("-inf")
    said: str = ""


class RecordedClock:
    """The clock of the records of one desk, for each box that it is asked of and for all of them; from any thread."""

    def __init__(self, reader: DeskSource, now_s: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._now_s = now_s
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}

    def fresh(self) -> PlantClock | None:
        """Return the clock of what the present answer is about where what was read still holds; never blocks."""
        known = self._known.get(present_boxes().box)
        return known.clock if known is not None and self._now_s() < known.until_s else None

    def read(self) -> PlantClock:
        """Return the clock, read again if need be. Records that cannot be read keep the one before, and are logged."""
        with self._lock:
            if (fresh := self.fresh()) is not None:
                return fresh
            known = self._known.setdefault(present_boxes().box, _Known())
            problem = ""
            try:
                with self._reader.open() as connection:
                    known.clock, problem = clock_of_all(connection)
            except NoRecordsError:  # the line has not begun, which the page says
                known.clock = PlantClock()
            except VisionLineError as exc:
                problem = str(exc)
            if problem and problem != known.said:
                logger.warning("times are shown in %s: %s", known.clock.zone_name, problem)
            known.said = problem
            known.until_s = self._now_s() + _HOLDS_S
            return known.clock
