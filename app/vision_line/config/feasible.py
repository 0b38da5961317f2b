# SPDX-License-Identifier: AGPL-3.0-or-later
"""Settings that contradict each other: with them no part could ever be inspected, whatever camera and machine do."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, floor, log10

from vision_line.config.models import Stream


def contradictions(stream: Stream) -> Iterator[tuple[str, str]]:
    """Yield the key of each setting that can never work, and what was found, expected and needed. Pure."""
    gap_ms = stream.max_inspection_gap_ms
    if gap_ms is not None and gap_ms > stream.dwell_s * 1000:
        yield (
            "max_inspection_gap_ms",
            f"found {gap_ms:g}, expected at most dwell_s ({stream.dwell_s * 1000:g} ms): a part could pass in the gap",
        )
    if stream.inspect_fps is not None and stream.inspect_fps < stream.needed_fps:
        found = f"found {stream.inspect_fps:g}, expected at least {rounded_up(stream.needed_fps)}"
        yield "inspect_fps", f"{found}: {need_in_words(stream)}"


def need_in_words(stream: Stream) -> str:
    """Return why the camera needs its rate of inspections."""
    inspections, key = stream.needed_inspections, "min_hits" if stream.min_looks is None else "min_looks"
    if inspections / stream.dwell_s >= 1 / stream.inspection_gap_s:
        what = f"{inspections} inspections ({key}) within {stream.dwell_s:g} s (dwell_s)"
    else:
        gap_ms = stream.inspection_gap_s * 1000
        what = f"an inspection every {gap_ms:g} ms (max_inspection_gap_ms; default: half of dwell_s)"
    return f"{what} need {rounded_up(stream.needed_fps)} inspections/s"


def rounded_up(fps: float) -> str:
    """Return a rate with three digits that is enough when it is written down."""
    step = 10.0 ** (floor(log10(fps)) - 2)
    return f"{ceil(fps / step - 1e-9) * step:.3g}"
