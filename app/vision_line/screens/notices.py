# SPDX-License-Identifier: AGPL-3.0-or-later
"""The bottom of the dashboard: alarms and notices, and the latest defects."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime

from vision_line.frames import DefectEvent, EventPhase
from vision_line.screens.segments import Line, Segment, filled, left, right
from vision_line.screens.styles import NOTICE, QUIET, TROUBLE, VERDICTS
from vision_line.telemetry.snapshot import Snapshot

_ALARM: Segment = (" ■ ", TROUBLE)
_NOTICE: Segment = (" ▲ ", NOTICE)

_NONE_FOUND = "none found, but parts pass inspected too seldom"
_BESIDE = 120  # from this width on alarms stand beside the defects, else above them


def notice_lines(snapshot: Snapshot, width: int, rows: int) -> list[Line]:
    """Return at most `rows` lines of exactly `width` cells; alarms take the room first, then notices."""
    if rows <= 0:
        return []
    messages = [(_ALARM, text) for text in snapshot.alarms] + [(_NOTICE, text) for text in snapshot.notices]
    if not messages:
        return _events(snapshot, width, rows)
    if width < _BESIDE:
        alarms = _message_lines(messages, width, max(2, rows - 4) if rows > 2 else rows)
        return [*alarms, *_events(snapshot, width, rows - len(alarms))]
    half = width // 2
    alarms = _message_lines(messages, width - half, rows)
    events = _events(snapshot, half, rows)
    alarms += [filled([], width - half)] * (len(events) - len(alarms))
    events += [filled([], half)] * (len(alarms) - len(events))
    return [[*event, *alarm] for event, alarm in zip(events, alarms, strict=True)]


def _message_lines(messages: Sequence[tuple[Segment, str]], width: int, rows: int) -> list[Line]:
    """Return a title and the messages; if they do not fit, the last line says how many more there are."""
    mark, word = (_ALARM, "alarm") if messages[0][0] == _ALARM else (_NOTICE, "notice")
    if rows < 2 <= len(messages):
        count = sum(segment == mark for segment, _ in messages)
        return [filled([mark, (f"{count} {word}{'' if count == 1 else 's'}", mark[1])], width)]
    title = [filled([(f" {word}s", QUIET)], width)] if rows > min(3, len(messages)) else []
    places = rows - len(title)
    shown = messages if len(messages) <= places else messages[: places - 1]
    lines: list[Line] = []
    for index, (segment, text) in enumerate(shown):
        spare = places - len(lines) - (len(shown) - index) - (len(shown) < len(messages))
        lines += _wrapped(segment, text, width, 1 + spare)
    more = [filled([(f"   + {len(messages) - len(shown)} more", mark[1])], width)] if len(shown) < len(messages) else []
    return [*title, *lines, *more]


def _wrapped(segment: Segment, text: str, width: int, rows: int) -> list[Line]:
    """Return a text over at most `rows` lines; the last is cut where it does not fit."""
    mark = segment
    lines: list[Line] = []
    words = textwrap.wrap(text, max(1, width - 4), break_on_hyphens=False) or [""]
    for index, part in enumerate(words[:rows]):
        rest = part if index + 1 < rows else " ".join(words[index:])
        lines.append(filled([mark, left(rest, width - 4)], width))
        mark = (" " * len(segment[0]), "")
    return lines


def _events(snapshot: Snapshot, width: int, rows: int) -> list[Line]:
    if rows < 2:
        return []
    events = snapshot.latest_events
    lines = [filled([(" latest defects", QUIET)], width)]
    if not events:
        missed = any(camera.is_missed for camera in snapshot.cameras)
        return [*lines, filled([left(f"   {_NONE_FOUND if missed else 'none yet'}", width, QUIET)], width)]
    return [*lines, *(_event(event, width) for event in events[: rows - 1])]


def _event(event: DefectEvent, width: int) -> Line:
    """Return one defect; `now` marks one that is still in view."""
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
            right(f"{event.hits} hits", 10, QUIET),
            ("" if over else "  now", "bold"),
        ],
        width,
    )
