# SPDX-License-Identifier: AGPL-3.0-or-later
"""The bottom of the dashboard: alarms, and the latest defects."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from vision_line.frames import DefectEvent, EventPhase
from vision_line.screens.looks import QUIET, TROUBLE, VERDICTS
from vision_line.screens.pieces import Line, filled, left, right
from vision_line.telemetry.snapshot import Snapshot

_BESIDE = 120  # from this width on alarms stand beside the defects, else above them


def notice_lines(snapshot: Snapshot, width: int, rows: int) -> list[Line]:
    """Return at most `rows` lines of exactly `width` cells; alarms have the first right to the room."""
    if rows <= 0:
        return []
    if not snapshot.alarms:
        return _events(snapshot.latest_events, width, rows)
    if width < _BESIDE:
        alarms = _alarms(snapshot.alarms, width, max(2, rows - 4) if rows > 2 else rows)
        return [*alarms, *_events(snapshot.latest_events, width, rows - len(alarms))]
    half = width // 2
    alarms = _alarms(snapshot.alarms, width - half, rows)
    events = _events(snapshot.latest_events, half, rows)
    alarms += [filled([], width - half)] * (len(events) - len(alarms))
    events += [filled([], half)] * (len(alarms) - len(events))
    return [[*event, *alarm] for event, alarm in zip(events, alarms, strict=True)]


def _alarms(alarms: Sequence[str], width: int, rows: int) -> list[Line]:
    """Return a title and the alarms; when they do not fit, the last line says how many more there are."""
    if rows < 2 <= len(alarms):
        return [filled([(f" ■ {len(alarms)} alarms", TROUBLE)], width)]
    title = [filled([(" alarms", QUIET)], width)] if rows > min(3, len(alarms)) else []
    places = rows - len(title)
    shown = alarms if len(alarms) <= places else alarms[: places - 1]
    lines = [filled([(" ■ ", TROUBLE), left(alarm, width - 4)], width) for alarm in shown]
    more = [filled([(f"   + {len(alarms) - len(shown)} more", TROUBLE)], width)] if len(shown) < len(alarms) else []
    return [*title, *lines, *more]


def _events(events: Sequence[DefectEvent], width: int, rows: int) -> list[Line]:
    if rows < 2:
        return []
    lines = [filled([(" latest defects", QUIET)], width)]
    if not events:
        return [*lines, filled([("   none yet", QUIET)], width)]
    return [*lines, *(_event(event, width) for event in events[: rows - 1])]


def _event(event: DefectEvent, width: int) -> Line:
    """Return one defect; `now` marks one that is still in the picture."""
    word, style = VERDICTS[event.verdict]
    over = event.phase is EventPhase.END
    seen = datetime.fromtimestamp(event.first_seen_utc, UTC)
    class_width = max(8, min(24, width - 49))
    return filled(
        [
            (f"   {seen:%H:%M:%S}  ", QUIET),
            left(event.camera, 13),
            left(event.class_name.replace("_", " "), class_width),
            left(word, 8, ("bold" if style == TROUBLE else style) if over else style),
            right(f"{event.top_score:.2f}", 5),
            right(f"{event.hits} looks", 10, QUIET),
            ("" if over else "  now", "bold"),
        ],
        width,
    )
