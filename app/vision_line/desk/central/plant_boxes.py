# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is known of each box: how far its records have come, what its cameras do, and what needs somebody there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vision_line.central.database_connection import connected
from vision_line.central.plant_status import NodeStatus, read_status
from vision_line.desk.boxes import present_boxes, shown_of
from vision_line.desk.central.box_addresses import BoxAddress
from vision_line.desk.central.central_source import CentralSource
from vision_line.desk.inspected.attention import Alarm, LastRun, read_alarms, read_last_run
from vision_line.desk.inspected.inspected_time import CameraTime, read_inspected_time
from vision_line.desk.local_time import ChosenTime, PlantClock
from vision_line.desk.plain_words import duration
from vision_line.desk.recorded_clock import clock_of
from vision_line.desk.report.counts import VerdictCounts, in_all, read_counts
from vision_line.records.records import Records
from vision_line.telemetry.covered import Covered, together


@dataclass(frozen=True, slots=True)
class PlantBox:
    """A box in a time. `desk` is where its own desk is, None where this one was not told.

    `known_utc`: up to then its records are here; of what came later nothing is known. None: none have come.
    `unknown_s` of the time, of one camera, are not known for that reason.
    """

    status: NodeStatus
    desk: str | None
    run: LastRun | None
    alarms: Sequence[Alarm]
    cameras: Sequence[CameraTime]
    found: VerdictCounts
    clock: PlantClock
    known_utc: float | None
    unknown_s: float

    @property
    def name(self) -> str:
        """Its name."""
        return self.status.node

    @property
    def total(self) -> Covered:
        """What of the time was due and inspected, all its cameras together."""
        return together(one.covered for one in self.cameras)

    @property
    def is_fine(self) -> bool:
        """Whether its records come, and every camera of its run is inspected now."""
        return self.run is not None and not self.alarms


def read_boxes_of(
    source: CentralSource, addresses: Mapping[str, BoxAddress], time: ChosenTime, now_utc: float, box: str = ""
) -> list[PlantBox]:
    """Return the boxes, or the one of that name, by name.

    Raises:
        RunError: the database cannot be asked, or takes too long.
    """
    with connected(source.url) as connection:
        statuses = read_status(connection)
    found = []
    for status in statuses:
        if box in ("", status.node):
            with shown_of(replace(present_boxes(), box=status.node)), source.open() as records:
                found.append(_box(records, status, addresses.get(status.node), time, now_utc))
    return found


def _box(
    records: Records, status: NodeStatus, address: BoxAddress | None, time: ChosenTime, now_utc: float
) -> PlantBox:
    run = read_last_run(records)
    known_utc = _known_utc(status, run)
    until_utc = min(time.until_utc, now_utc)
    unknown_s = max(0.0, until_utc - max(known_utc or 0.0, time.since_utc)) if status.is_silent else 0.0
    return PlantBox(
        status=status,
        desk=None if address is None else address.url,
        run=run,
        alarms=[*_of_shipping(status, known_utc), *_of_run(records, status, run)],
        cameras=read_inspected_time(records, time),
        found=in_all(read_counts(records, time)),
        clock=clock_of(records),
        known_utc=known_utc,
        unknown_s=unknown_s,
    )


def _known_utc(status: NodeStatus, run: LastRun | None) -> float | None:
    """Return up to when a box's records are here: of a run that goes on up to its last sign of life that came."""
    shipped = status.journals.get("records")
    moments = [one for one in (shipped and shipped.at_utc, run and run.known_utc) if one]
    return max(moments, default=None)


def _of_shipping(status: NodeStatus, known_utc: float | None) -> list[Alarm]:
    """Return what is wrong with the way of a box's records to here."""
    found = []
    if status.is_silent:
        words = f"has sent nothing for {duration(status.silent_s)}: what is inspected there now is not known"
        found.append(Alarm(words, known_utc or status.added_utc))
    if status.lost:
        words = f"{status.lost} entries were removed at the box before they came: what they said is not known"
        found.append(Alarm(words, status.added_utc, is_missing=False))
    if status.is_clock_off:
        words = f"its clock is {status.clock_offset_s:+.1f} s off the database's: times of boxes do not compare"
        found.append(Alarm(words, status.seen_utc, is_missing=False))
    return found


def _of_run(records: Records, status: NodeStatus, run: LastRun | None) -> list[Alarm]:
    """Return what needs somebody at the box; nothing of one that is silent: it is not known."""
    if status.is_silent:
        return []
    if run is None:
        return [Alarm("no run has been recorded there", status.added_utc, is_missing=False)]
    return read_alarms(records, run, None)


def other_clocks(boxes: Sequence[PlantBox], clock: PlantClock) -> list[str]:
    """Return the boxes whose records name another time zone or other shifts than `clock`."""
    return [one.name for one in boxes if one.clock.shifts is not None and one.clock != clock]
