# SPDX-License-Identifier: AGPL-3.0-or-later
"""One row per camera: the layout used whenever all rows fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vision_line.screens.recipes_in_force import column_width, recipe_cell
from vision_line.screens.segments import Line, Segment, filled, left, right
from vision_line.screens.styles import NOTICE, ORDINARY_CAUSES, QUIET, TROUBLE, milliseconds, short_time, style_of
from vision_line.telemetry.snapshot import CameraSnapshot

_MARK, _STATE = 3, 14
_STOOD_IN_FOR = frozenset({"p50", "p99"})
_NAME_MIN, _NAME_MAX = 8, 24
#: What is laid out for; nothing more is shown on narrower screens.
_NARROW = 80


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of figures; shown on screens of at least `from_width` cells."""

    title: str
    width: int
    cell: Callable[[CameraSnapshot, int], Segment]
    from_width: int = 0
    align: Callable[[str, int, str], Segment] = right


def table_lines(cameras: Sequence[CameraSnapshot], width: int) -> list[Line]:
    """Return the title line and a line for each camera, each exactly `width` cells."""
    columns = _with_recipes(width, column_width(cameras))
    fixed = _MARK + _STATE + sum(column.width for column in columns)
    longest = max((len(camera.name) for camera in cameras), default=0)
    name_width = max(_NAME_MIN, min(longest + 2, _NAME_MAX, width - fixed - 1))
    titles = [
        left("", _MARK),
        left("camera", name_width, QUIET),
        left("state", _STATE, QUIET),
        *(column.align(column.title, column.width, QUIET) for column in columns),
    ]
    return [filled(titles, width), *(_row(camera, name_width, columns, width) for camera in cameras)]


def _row(camera: CameraSnapshot, name_width: int, columns: Sequence[TableColumn], width: int) -> Line:
    state_style = style_of(camera)
    start = [left(f" {state_style.mark}", _MARK, state_style.style), left(camera.name, name_width), *_state(camera)]
    if camera.is_troubled and camera.fps_in == 0:
        return filled([*start, ("  ", ""), *_reason(camera)], width)
    return filled([*start, *(column.cell(camera, column.width) for column in columns)], width)


def _state(camera: CameraSnapshot) -> Line:
    """Return the state's word; its background, if any, ends with the word."""
    state_style = style_of(camera)
    word = state_style.word if state_style.chip == state_style.style else f"{state_style.word} "
    return [(word, state_style.chip), (" " * (_STATE - len(word)), "")]


def _reason(camera: CameraSnapshot) -> Line:
    """Return what is known about a camera that sends no frames, in place of its figures."""
    age_s = camera.last_frame_age_s
    seen = "never seen" if age_s is None else f"last frame {short_time(age_s)} ago"
    segments = [(f"{camera.code}  ", TROUBLE)] if camera.code else []
    return [*segments, (seen, ""), (f", {camera.detail}" if camera.detail else "", QUIET)]


def _rate(value: float, width: int, style: str = "") -> Segment:
    return right(f"{value:.1f}", width, style)


def _drops(camera: CameraSnapshot, width: int) -> Segment:
    """Return the drops per second by cause, abnormal ones first; causes that do not fit are counted."""
    rates = [(cause, rate) for cause, rate in camera.dropped_fps.items() if rate >= 0.05]
    rates.sort(key=lambda item: (item[0] in ORDINARY_CAUSES, -item[1]))
    text = ""
    for shown, (cause, rate) in enumerate(rates):
        part = f"{rate:.1f} {cause.replace('_', ' ')}"
        more = f" +{len(rates) - shown}"
        if text and len(f"{text}, {part}") + (3 if shown + 1 < len(rates) else 0) > width - 2:
            text += more
            break
        text = f"{text}, {part}" if text else part
    unusual = any(cause not in ORDINARY_CAUSES for cause, _ in rates)
    segment, style = left(text, width - 2, NOTICE if unusual else QUIET)
    return f"  {segment}", style


def _quantile(name: str) -> Callable[[CameraSnapshot, int], Segment]:
    def cell(camera: CameraSnapshot, width: int) -> Segment:
        value = None if camera.latency_ms is None else getattr(camera.latency_ms, name)
        return right(milliseconds(value), width)

    return cell


def _age(camera: CameraSnapshot, width: int) -> Segment:
    age_s = camera.last_frame_age_s
    style = QUIET if age_s is None or age_s < 1.0 else NOTICE
    return right("–" if age_s is None else short_time(age_s), width, style)


def _behind(camera: CameraSnapshot, width: int) -> Segment:
    return right(short_time(camera.behind_s), width, NOTICE if camera.comes_late else QUIET)


def _count(value: int, width: int) -> Segment:
    return right(str(value) if value else "–", width, "bold" if value else QUIET)


def _share(camera: CameraSnapshot, width: int) -> Segment:
    """Return a bar: the share of arriving frames that is inspected."""
    cells = width - 3
    share = camera.fps_inspected / camera.fps_in if camera.fps_in > 0 else 0.0
    full = min(cells, round(share * cells))
    return f"   {'━' * full}{'─' * (cells - full)}", QUIET


def _with_recipes(width: int, recipe_width: int) -> list[TableColumn]:
    """Return the columns with one of recipes, 0 wide: none. On a narrow screen it stands in for two latencies."""
    columns = _columns(max(_NARROW, width - recipe_width))
    if not recipe_width:
        return columns
    if width - recipe_width < _NARROW:
        left_out = [column for column in columns if column.title in _STOOD_IN_FOR]
        columns = [column for column in columns if column not in left_out]
        recipe_width = sum(column.width for column in left_out)
    return [TableColumn("  recipe", recipe_width, recipe_cell, align=left), *columns]


def _columns(width: int) -> list[TableColumn]:
    """Return the columns that fit a screen of `width` cells."""
    drops_width = max(17, min(34, width - 93))
    spare = max(0, width - 142)
    columns = [
        TableColumn("in /s", 6, lambda camera, size: _rate(camera.fps_in, size, QUIET)),
        TableColumn("insp.", 6, lambda camera, size: _rate(camera.fps_inspected, size)),
        TableColumn("   share inspected", 19 + min(8, spare), _share, from_width=130, align=left),
        TableColumn("  dropped /s", drops_width + min(10, spare // 2), _drops, align=left),
        TableColumn("p50", 5, _quantile("p50")),
        TableColumn("p95", 6, _quantile("p95"), from_width=120),
        TableColumn("p99", 6, _quantile("p99")),
        TableColumn("behind", 7, _behind, from_width=100),
        TableColumn("age", 6, _age),
        TableColumn("defects", 8, lambda camera, size: _count(camera.events, size)),
        TableColumn("reconn.", 9, lambda camera, size: _count(camera.reconnects, size), from_width=120),
    ]
    return [column for column in columns if width >= column.from_width]
