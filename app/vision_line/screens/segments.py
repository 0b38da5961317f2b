# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lines of a screen as styled segments of an exact width in terminal cells.

A screen of sixteen cameras is drawn several times a second beside the inspection. Segments cost a tenth of rich's
tables, and no line is wrapped or longer than requested.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

Segment = tuple[str, str]  # text, rich style
Line = list[Segment]

_ELLIPSIS = "…"
#: Text from cameras and libraries must not move the cursor.
_NO_CONTROLS = dict.fromkeys([*range(32), *range(127, 160)], " ")


def left(text: str, width: int, style: str = "") -> Segment:
    """Return `text` padded to `width` cells on the right; what is too long ends in an ellipsis."""
    text = text.translate(_NO_CONTROLS)
    if cell_len(text) > width:
        text = set_cell_size(text, max(0, width - 1)) + _ELLIPSIS[:width]
    return set_cell_size(text, width), style


def right(text: str, width: int, style: str = "") -> Segment:
    """Return `text` padded to `width` cells on the left; what is too long ends in an ellipsis."""
    missing = width - cell_len(text)
    return left(text, width, style) if missing < 0 else (" " * missing + text, style)


def width_of(line: Iterable[Segment]) -> int:
    """Return the width of the segments in cells."""
    return sum(cell_len(text) for text, _ in line)


def filled(line: Sequence[Segment], width: int, style: str = "") -> Line:
    """Return the segments cut or padded with `style` to exactly `width` cells."""
    result: Line = []
    room = width
    for words, segment_style in line:
        text = words.translate(_NO_CONTROLS)
        if cell_len(text) > room:
            result.append(left(text, room, segment_style))
            return result
        result.append((text, segment_style))
        room -= cell_len(text)
    result.append((" " * room, style))
    return result


def spread(start: Sequence[Segment], end: Sequence[Segment], width: int, style: str = "") -> Line:
    """Return `start` at the left and `end` at the right edge; `end` is left out where both do not fit."""
    room = width - width_of(end)
    if width_of(start) + 1 > room:
        return filled(start, width, style)
    return [*filled(start, room, style), *end]


def to_text(line: Line) -> Text:
    """Return the segments as a rich text that does not wrap."""
    return Text.assemble(*line, no_wrap=True, overflow="crop")
