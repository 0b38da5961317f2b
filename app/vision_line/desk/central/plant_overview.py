# SPDX-License-Identifier: AGPL-3.0-or-later
"""What was inspected at all boxes, and of which part of the time nothing is known of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from vision_line.central.plant_status import NodeStatus
from vision_line.desk.boxes import each_box, present_boxes
from vision_line.desk.central.known_time import KnownTime, read_known_time
from vision_line.desk.central.plant_boxes import by_box
from vision_line.desk.inspected.attention import read_last_run
from vision_line.desk.inspected.doubted_time import DoubtedTime, read_doubts
from vision_line.desk.inspected.overview import InspectedOverview, read_overview
from vision_line.desk.local_time import ChosenTime
from vision_line.records.records import Records
from vision_line.telemetry.covered import Covered, together

#: Of more cameras than this there are bars of one box alone: a page of a plant is to be read.
MOST_BARS = 48


@dataclass(frozen=True, slots=True)
class BoxCoverage:
    """A box in a time: what of its own known time was inspected, and what of that may be wrong."""

    name: str
    known: KnownTime
    total: Covered
    share: float | None
    doubts: Sequence[DoubtedTime]


@dataclass(frozen=True, slots=True)
class PlantOverview(InspectedOverview):
    """All cameras of all boxes. Where `unknown_s` of a box is not 0, the sums are of the rest of the time there.

    Without `has_bars` there are too many cameras for one answer with all bars: those of a box have them.
    """

    boxes: Sequence[BoxCoverage]
    has_bars: bool


def read_plant_overview(
    connection: Records, statuses: Mapping[str, NodeStatus], time: ChosenTime, now_utc: float
) -> PlantOverview:
    """Return what is known of the boxes that the present answer is about.

    Raises:
        Error: the database's, as it comes.
    """
    overview = read_overview(connection, time, None if present_boxes().box else MOST_BARS)
    totals = {
        box: together(one.covered for one in own) for box, own in by_box(one.time for one in overview.cameras).items()
    }
    has_bars = bool(present_boxes().box) or len(overview.cameras) <= MOST_BARS
    boxes = []
    for box, records in each_box(connection):
        if box in statuses:
            known = read_known_time(records, statuses[box], read_last_run(records), time, now_utc)
            total = totals.get(box, Covered())
            boxes.append(BoxCoverage(box, known, total, total.share, read_doubts(records, time)))
    return PlantOverview(
        **{one.name: getattr(overview, one.name) for one in fields(overview)}, boxes=boxes, has_bars=has_bars
    )
