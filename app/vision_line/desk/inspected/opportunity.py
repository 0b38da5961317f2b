# SPDX-License-Identifier: AGPL-3.0-or-later
"""The area of opportunity of charts: inspected seconds between any moments, of any cameras, also over a year.

What was inspected is what a run had a camera for, less the gaps of the ledger. Seconds are whole milliseconds, as the
ledger has them, so that a period has the same area on whatever page it is shown. A time of which events or gaps were
removed has no area: nothing is known of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vision_line.desk.boxes import box_of
from vision_line.desk.inspected.inspected_time import HeldTime, known_of_boxes, read_spans
from vision_line.desk.local_time import ChosenTime
from vision_line.desk.run_times import KNOWN
from vision_line.records.columns import Table
from vision_line.records.query import SOURCES, Selection, plan_query
from vision_line.records.records import Records

Floats = NDArray[np.float64]

_GAPS = f"""SELECT t.camera, t.started_utc, coalesce(t.ended_utc, {KNOWN})
    FROM {SOURCES[Table.NOT_INSPECTED].sql} WHERE {{where}}"""  # noqa: S608  names, of these packages


@dataclass(frozen=True, slots=True)
class Opportunity:
    """What is known of the cameras in a time: from when to when a run had each, and what of it was not inspected.

    `known_utc` has for each box from when on its records are known, 0: nothing was removed; on a box's own desk for "".
    """

    spans: Sequence[HeldTime]
    gaps: dict[str, list[tuple[float, float]]]
    known_utc: Mapping[str, float]

    def seconds(self, edges: Floats, wanted: Callable[[HeldTime], bool] = lambda _: True) -> Floats:
        """Return the inspected seconds (n,) of the wanted spans' cameras between neighbours of `edges` (n + 1,)."""
        by_camera = defaultdict[str, list[tuple[float, float]]](list)
        for span in self.spans:
            if wanted(span):
                by_camera[span.camera].append((span.since_utc, span.until_utc))
        total = np.zeros(len(edges) - 1)
        for camera, spans in by_camera.items():
            total += _within(edges, spans, self.gaps.get(camera, []))
        return np.round(total, 3)


def read_opportunity(connection: Records, time: ChosenTime) -> Opportunity:
    """Return what is known of `time`.

    Raises:
        Error: the database's, as it comes.
    """
    known_utc = known_of_boxes(connection, Table.EVENTS, Table.NOT_INSPECTED)
    held = [(one, known_utc.get(box_of(one.camera), 0.0)) for one in read_spans(connection, time)]
    spans = [replace(one, since_utc=max(one.since_utc, known)) for one, known in held if one.until_utc > known]
    query = plan_query(Table.NOT_INSPECTED, Selection(time.since_utc, time.until_utc))
    gaps = defaultdict[str, list[tuple[float, float]]](list)
    for camera, started_utc, ended_utc in connection.execute(_GAPS.format(where=query.where), query.parameters):
        gaps[camera].append((started_utc, ended_utc))
    return Opportunity(spans, dict(gaps), known_utc)


def _within(edges: Floats, spans: Sequence[tuple[float, float]], gaps: Sequence[tuple[float, float]]) -> Floats:
    """Return the seconds (n,) of one camera between neighbours of `edges`: in a span, and in no gap."""
    moments = np.unique(np.array([*spans, *gaps], np.float64))
    is_inspected = (_held(spans, moments) > 0) & (_held(gaps, moments) == 0)
    reached_s = np.concatenate([[0.0], np.cumsum(np.diff(moments) * is_inspected[:-1])])
    return np.diff(np.interp(edges, moments, reached_s))


def _held(times: Sequence[tuple[float, float]], moments: Floats) -> NDArray[np.intp]:
    """Return in how many of these times [begin, end) each moment lies."""
    pairs = np.array(times, np.float64).reshape(-1, 2)
    begun, ended = (np.searchsorted(np.sort(pairs[:, side]), moments, side="right") for side in (0, 1))
    return begun - ended
