# SPDX-License-Identifier: AGPL-3.0-or-later
"""How busy the GPUs are: a line of the dashboard for each, and the few words of the status line."""

from __future__ import annotations

from collections.abc import Sequence

from vision_line.ports import DeviceLoad
from vision_line.screens.segments import Line, Segment, filled, left, spread
from vision_line.screens.styles import NOTICE, QUIET, VALUE

_NAME_WIDTH = 8


def device_lines(loads: Sequence[DeviceLoad], width: int, rows: int) -> list[Line]:
    """Return a line for each GPU, at most `rows`; the last one says how many more there are. All fit 80 cells."""
    shown = loads[:rows]
    lines = [filled(_segments(load), width) for load in shown]
    if lines and (more := len(loads) - len(shown)):
        lines[-1] = spread(_segments(shown[-1])[:-1], [(f"+ {more} more", QUIET)], width)
    return lines


def device_words(load: DeviceLoad) -> str:
    """Return a GPU's figures in a few words, without those that it does not report."""
    figures = [
        ("infers ", load.sm_percent, " %"),
        ("decodes ", load.decoder_percent, " %"),
        ("", load.memory_used_mb, " MB"),
        ("", load.power_w, " W"),
        ("", load.temperature_c, " °C"),
    ]
    return " ".join(
        [load.name, *(f"{before}{value:.0f}{unit}" for before, value, unit in figures if value is not None)]
    )


def _segments(load: DeviceLoad) -> Line:
    """Return the figures behind their dim labels; a mark stands beside the temperature of a GPU that is too hot."""
    memory = f"{load.memory_used_mb / 1024:.1f} of {load.memory_total_mb / 1024:.1f} GB"
    heat = NOTICE if load.is_hot else VALUE
    return [
        (" ", ""),
        left(load.name, _NAME_WIDTH, QUIET),
        *_figure("infers", _rounded(load.sm_percent, "%"), 7),
        *_figure("decodes", _rounded(load.decoder_percent, "%"), 7),
        *_figure("memory", memory, 17, NOTICE if load.is_full else VALUE),
        left(_rounded(load.power_w, "W"), 7, VALUE),
        left(f"{_rounded(load.temperature_c, '°C')}{' ▲' if load.is_hot else ''}", 8, heat),
    ]


def _figure(label: str, value: str, width: int, style: str = VALUE) -> tuple[Segment, Segment]:
    return (f"{label} ", QUIET), left(value, width, style)


def _rounded(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:.0f} {unit}"
