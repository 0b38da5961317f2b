# SPDX-License-Identifier: AGPL-3.0-or-later
"""The plant's clock as the records say: `[shifts]` that the journal has in force, read again now and then."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from pydantic import ValidationError

from vision_line.config.models import ShiftSettings
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


class RecordedClock:
    """The clock of the records of one desk; from any thread."""

    def __init__(self, reader: DeskSource, now_s: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._now_s = now_s
        self._lock = threading.Lock()
        self._clock = PlantClock()
        self._until_s = float("-inf")
        self._said = ""

    def fresh(self) -> PlantClock | None:
        """Return the clock where what was read of it still holds; never blocks."""
        return self._clock if self._now_s() < self._until_s else None

    def read(self) -> PlantClock:
        """Return the clock, read again if need be. Records that cannot be read keep the one before, and are logged."""
        with self._lock:
            if (fresh := self.fresh()) is not None:
                return fresh
            try:
                self._clock, problem = self._of_records(), ""
            except NoRecordsError:  # the line has not begun, which the page says
                self._clock, problem = PlantClock(), ""
            except VisionLineError as exc:
                problem = str(exc)
            if problem and problem != self._said:
                logger.warning("times are shown in %s: %s", self._clock.zone_name, problem)
            self._said = problem
            self._until_s = self._now_s() + _HOLDS_S
            return self._clock

    def _of_records(self) -> PlantClock:
        with self._reader.open() as connection:
            return clock_of(connection)
