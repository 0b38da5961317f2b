# SPDX-License-Identifier: AGPL-3.0-or-later
"""Many cameras side by side: the layout used when one row per camera does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from vision_line.screens.segments import Line, filled, left, right
from vision_line.screens.styles import QUIET, milliseconds, style_of
from vision_line.telemetry.snapshot import CameraSnapshot

_ROOMY, _TIGHT = 39, 26  # cells of one camera
_GAP = 1


def grid_lines(cameras: Sequence[CameraSnapshot], width: int, rows: int) -> list[Line]:
    """Return at most `rows` lines, a title line among them, each exactly `width` cells.

    Cameras are in the order of the configuration, down and then across, so that each keeps its place. If not all fit,
    cameras in trouble come first, and the last cell says how many more there are.
    """
    body = max(1, rows - 1)
    cell = _ROOMY if _capacity(width, _ROOMY, body) >= len(cameras) else _TIGHT
    across = max(1, (width + _GAP) // (cell + _GAP))
    cell = min(cell, width)
    shown, rest = _choose(cameras, across * body)
    cells = [_cell(camera, cell) for camera in shown]
    if rest:
        cells.append(filled([(f" + {_rest(rest)}", "bold")], cell))
    used_rows = max(1, min(body, -(-len(cells) // across)))
    columns = [cells[start : start + used_rows] for start in range(0, len(cells), used_rows)]
    title: Line = []
    for _ in columns:
        title += [*_titles(cell), (" " * _GAP, "")]
    return [filled(title, width), *(_joined(row, cell, width) for row in zip_longest(*columns))]


def _capacity(width: int, cell: int, rows: int) -> int:
    return max(1, (width + _GAP) // (cell + _GAP)) * rows


def _choose(
    cameras: Sequence[CameraSnapshot], places: int
) -> tuple[Sequence[CameraSnapshot], Sequence[CameraSnapshot]]:
    """Return the cameras to show and the rest; if there is a rest, one cell is left to say so."""
    if len(cameras) <= places:
        return cameras, ()
    troubled_first = sorted(cameras, key=lambda camera: (not camera.is_troubled, camera.is_inspecting))
    return troubled_first[: places - 1], troubled_first[places - 1 :]


def _rest(cameras: Sequence[CameraSnapshot]) -> str:
    """Say how many have no cell of their own, and the worst of them; three digits twice fit into a narrow cell."""
    more = f"{len(cameras)} more"
    if missing := sum(camera.is_expected and not camera.is_inspecting for camera in cameras):
        return f"{more}, {missing} not insp."
    troubled = sum(camera.is_troubled for camera in cameras)
    return f"{more}, {troubled} troubled" if troubled else f"{more}, all well"


def _joined(row: Sequence[Line | None], cell: int, width: int) -> Line:
    line: Line = []
    for part in row:
        line += [*(part or [(" " * cell, "")]), (" " * _GAP, "")]
    return filled(line, width)


def _titles(cell: int) -> Line:
    name = _name_width(cell)
    if cell < _ROOMY:
        return [left("   camera", 3 + name, QUIET), right("insp.", 6, QUIET), right("p99", cell - 9 - name, QUIET)]
    titles = [left("   camera", 3 + name, QUIET), right("in /s", 6, QUIET), right("insp.", 6, QUIET)]
    return [*titles, right("p99", 5, QUIET), right("defects", cell - 20 - name, QUIET)]


def _name_width(cell: int) -> int:
    return 11 if cell >= _ROOMY else max(1, min(10, cell - 16))


def _cell(camera: CameraSnapshot, cell: int) -> Line:
    state_style, name = style_of(camera), _name_width(cell)
    stopped = camera.is_troubled and not camera.is_inspecting
    name_style = "bold" if stopped else state_style.chip if camera.is_troubled else ""
    start = [left(f" {state_style.mark}", 3, state_style.style), left(camera.name, name - 1, name_style), (" ", "")]
    if stopped:
        words = f"{state_style.word} " if camera.code is None or cell < _ROOMY else f"{state_style.word} {camera.code} "
        return filled([*start, left(words, min(len(words), cell - 3 - name), state_style.chip)], cell)
    p99 = milliseconds(None if camera.latency_ms is None else camera.latency_ms.p99)
    inspected = right(f"{camera.fps_inspected:.1f}", 6)
    if cell < _ROOMY:
        return filled([*start, inspected, right(p99, cell - 9 - name)], cell)
    defects = right(str(camera.events) if camera.events else "–", cell - 20 - name, "bold" if camera.events else QUIET)
    return filled([*start, right(f"{camera.fps_in:.1f}", 6, QUIET), inspected, right(p99, 5), defects], cell)
