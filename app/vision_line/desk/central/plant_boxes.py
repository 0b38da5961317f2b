# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is known of each box: how far its records have come, what its cameras do, and what needs somebody there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from vision_line.central.database_connection import connected
from vision_line.central.database_url import DatabaseUrl
from vision_line.central.plant_status import NodeStatus, read_status
from vision_line.desk.boxes import box_of, each_box
from vision_line.desk.central.box_addresses import BoxAddress
from vision_line.desk.central.known_time import KnownTime, read_known_time
from vision_line.desk.inspected.attention import Alarm, LastRun, read_alarms, read_last_run
from vision_line.desk.inspected.doubted_time import DoubtedTime, read_doubts
from vision_line.desk.inspected.inspected_time import CameraTime, read_inspected_time
from vision_line.desk.local_time import ChosenTime, PlantClock
from vision_line.desk.plain_words import duration
from vision_line.desk.recorded_clock import clock_of
from vision_line.desk.report.counts import VerdictCounts, in_all, read_counts
from vision_line.records.records import Records
from vision_line.telemetry.covered import Covered, together


class _OfCamera(Protocol):
    """What is of a camera."""

    @property
    def camera(self) -> str: ...


T = TypeVar("T", bound=_OfCamera)


@dataclass(frozen=True, slots=True)
class PlantBox:
    """A box in a time. `desk` is where its own desk is, None where this one was not told.

    `doubts`: when an engine of its may have computed wrongly.
    """

    status: NodeStatus
    desk: str | None
    run: LastRun | None
    alarms: Sequence[Alarm]
    cameras: Sequence[CameraTime]
    found: VerdictCounts
    clock: PlantClock
    known: KnownTime
    doubts: Sequence[DoubtedTime]

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


def read_statuses(url: DatabaseUrl) -> Mapping[str, NodeStatus]:
    """Return how far each box has come, by name.

    Raises:
        RunError: the database cannot be asked.
    """
    with connected(url) as connection:
        return {status.node: status for status in read_status(connection)}


def read_boxes_of(
    connection: Records,
    statuses: Mapping[str, NodeStatus],
    addresses: Mapping[str, BoxAddress],
    time: ChosenTime,
    now_utc: float,
) -> list[PlantBox]:
    """Return the boxes that the present answer is about, by name.

    Raises:
        Error: the database's, as it comes.
    """
    cameras = by_box(read_inspected_time(connection, time))
    found = by_box(read_counts(connection, time))
    return [
        _box(
            *(records, statuses[box], addresses.get(box), time),
            now_utc=now_utc,
            cameras=cameras.get(box, ()),
            found=found.get(box, ()),
        )
        for box, records in each_box(connection)
        if box in statuses
    ]


def by_box(rows: Iterable[T]) -> dict[str, list[T]]:
    """Return what is of cameras by their boxes."""
    found = defaultdict[str, list[T]](list)
    for row in rows:
        found[box_of(row.camera)].append(row)
    return dict(found)


def _box(
    records: Records,
    status: NodeStatus,
    address: BoxAddress | None,
    time: ChosenTime,
    *,
    now_utc: float,
    cameras: Sequence[CameraTime],
    found: Sequence[VerdictCounts],
) -> PlantBox:
    run = read_last_run(records)
    known = read_known_time(records, status, run, time, now_utc)
    return PlantBox(
        status=status,
        desk=None if address is None else address.url,
        run=run,
        alarms=[*_of_shipping(status, known.until_utc), *_of_run(records, status, run)],
        cameras=cameras,
        found=in_all(found),
        clock=clock_of(records),
        known=known,
        doubts=read_doubts(records, time),
    )


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
