# SPDX-License-Identifier: AGPL-3.0-or-later
"""The top of the dashboard: what runs, whether every camera is inspected, and the totals."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.cells import cell_len

from vision_line.frames import CameraState
from vision_line.screens.segments import Line, filled, left, spread
from vision_line.screens.styles import (
    NOTICE,
    NOTICE_FILL,
    QUIET,
    STARTING,
    TROUBLE,
    TROUBLE_FILL,
    VALUE,
    WELL,
    milliseconds,
    short_time,
)
from vision_line.telemetry.snapshot import Snapshot


def clock(seconds: float) -> str:
    """Return an uptime as m:ss with leading zero, or h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def title_line(snapshot: Snapshot, width: int) -> Line:
    """Return the line that says what runs here, since when, and what time it is."""
    what = f"{snapshot.version}  {snapshot.device}  {snapshot.model}"
    now = datetime.fromtimestamp(snapshot.now_utc, UTC)
    name, end = " vision-line ", f"up {clock(snapshot.uptime_s)}  {now:%Y-%m-%d %H:%M:%S} UTC "
    if snapshot.fleet and cell_len(f"{name}{what}  {snapshot.fleet} {end}") <= width:
        what += f"  {snapshot.fleet}"
    start: Line = [(name, "bold"), (what, QUIET)]
    return spread(start, [(end, QUIET)], width)


def band(snapshot: Snapshot, width: int, height: int) -> list[Line]:
    """Return one or three lines that show from afar whether every camera is inspected.

    Nothing wrong: quiet words without a fill. Something wrong: a bar of colour over the whole width, with the worst
    alarm in it.
    """
    style, words = _headline(snapshot)
    shown = _alarms_text(snapshot.alarms, width - len(words) - 1)
    line = filled([(f"{words}{shown}", style)], width, style)
    blank: Line = [(" " * width, style)]
    return [blank, line, blank] if height == 3 else [line]


def headline(snapshot: Snapshot) -> str:
    """Return in plain words whether every camera is inspected."""
    return _headline(snapshot)[1].strip()


def _alarms_text(alarms: Sequence[str], room: int) -> str:
    """Return the alarms that fit, at least the start of the first, and how many are left."""
    shown = ""
    for count, alarm in enumerate(alarms):
        more = f"   + {len(alarms) - count} more"
        room_here = room - (len(more) if count + 1 < len(alarms) else 0)
        if len(f"{shown}   {alarm}") > room_here:
            rest = max(0, room - len(more))
            return f"{shown}{more}" if shown else left(f"   {alarm}", min(rest, len(alarm) + 3))[0]
        shown = f"{shown}   {alarm}"
    return shown


def _headline(snapshot: Snapshot) -> tuple[str, str]:
    counts = f"{snapshot.inspecting} of {snapshot.expected} cameras inspected"
    missing = snapshot.expected - snapshot.inspecting
    troubled = any(c.is_troubled and (c.is_missed or c.state is not CameraState.DEGRADED) for c in snapshot.cameras)
    if not snapshot.log.writable or troubled:
        return TROUBLE_FILL, f" ■ {missing} OF {snapshot.expected} NOT INSPECTED" if missing else f" ■ {counts}"
    if snapshot.alarms:
        return NOTICE_FILL, f" ▲ {counts}"
    if missing:
        return STARTING, f" ○ {counts}, {missing} starting"
    return f"bold {WELL}", f" • {counts}"


def totals_lines(snapshot: Snapshot, width: int) -> list[Line]:
    """Return two lines: dim labels, and the figures under them, spread over the width."""
    tiles = _tiles(snapshot)
    spare = max(0, width - 1 - sum(size for _, _, size, _ in tiles))
    gap = min(5, spare // len(tiles))
    labels = [left(label, size + gap, QUIET) for label, _, size, _ in tiles]
    values = [left(value, size + gap, style) for _, value, size, style in tiles]
    return [filled([(" ", ""), *labels], width), filled([(" ", ""), *values], width)]


def _tiles(snapshot: Snapshot) -> list[tuple[str, str, int, str]]:
    """Return label, value, width and style of each figure; the widths add up to 79."""
    totals, log, latency = snapshot.totals, snapshot.log, snapshot.totals.latency_ms
    p50, p95, p99 = (None, None, None) if latency is None else (latency.p50, latency.p95, latency.p99)
    batch = "–" if totals.batch_occupancy is None else f"{100 * totals.batch_occupancy:.0f} %"
    log_value, log_style = (f"ok {log.commit_latency_ms:.0f}", VALUE) if log.writable else ("STOPPED", TROUBLE)
    behind_s = max((camera.behind_s for camera in snapshot.cameras), default=0.0)
    behind_style = NOTICE if any(camera.comes_late for camera in snapshot.cameras) else VALUE
    return [
        ("in /s", f"{totals.fps_in:.1f}", 7, VALUE),
        ("inspected", f"{totals.fps_inspected:.1f}", 10, VALUE),
        ("dropped", f"{totals.fps_dropped:.1f}", 8, VALUE),
        ("p50 ms", milliseconds(p50), 7, VALUE),
        ("p95", milliseconds(p95), 5, VALUE),
        ("p99", milliseconds(p99), 5, VALUE),
        ("behind", short_time(behind_s), 7, behind_style),
        ("batch", batch, 6, VALUE),
        (f"cpu of {totals.cores}", f"{totals.cpu_percent:.0f} %", 9, VALUE),
        ("memory", f"{totals.rss_mb:.0f} MB", 7, VALUE),
        ("log ms", log_value, 8, log_style),
    ]
