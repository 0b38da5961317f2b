# SPDX-License-Identifier: AGPL-3.0-or-later
"""The dashboard: one screen drawn from one immutable snapshot."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from typing import IO

from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions, Group, RenderableType
from rich.live import Live
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from vision_line.screens.camera_grid import grid_lines
from vision_line.screens.camera_table import table_lines
from vision_line.screens.device_lines import device_lines
from vision_line.screens.headline import band, title_line, totals_lines
from vision_line.screens.notices import notice_lines
from vision_line.screens.painter import run_painter
from vision_line.screens.recipes_in_force import recipe_lines
from vision_line.screens.segments import Line, filled, to_text
from vision_line.screens.styles import VALUE
from vision_line.telemetry.snapshot import Snapshot

_TALL = 32  # from this height on there are blank lines
_MIN_NOTICES = 2
_ROWS_OF_A_DEVICE = 6  # below the first twelve lines, one line in this many may show a GPU


def render(snapshot: Snapshot, width: int, height: int, foot: str = "") -> RenderableType:
    """Return the screen: at most `height` lines of exactly `width` cells; `foot` is the last. Pure."""
    return Group(*(to_text(line) for line in screen_with_foot(snapshot, width, height, foot)))


def screen_with_foot(snapshot: Snapshot, width: int, height: int, foot: str) -> list[Line]:
    """Return the lines of the screen, at the last line `foot`: whole, or what follows its first colon. Pure."""
    if not foot:
        return screen_lines(snapshot, width, height)
    words = foot if cell_len(foot) < width else foot.partition(": ")[2] or foot
    lines = screen_lines(snapshot, width, height - 1)
    lines += [filled([], width)] * (height - 1 - len(lines))
    return [*lines, filled([(" ", ""), (words, VALUE)], width)]


def screen_lines(snapshot: Snapshot, width: int, height: int) -> list[Line]:
    """Return the lines of the screen.

    The top and the cameras keep their place while the terminal's size and the number of cameras stay the same, except
    when the GPUs' first figures arrive. Alarms and defects share the rest.
    """
    roomy = height >= _TALL or height - len(snapshot.cameras) >= _TALL // 2
    air: list[Line] = [filled([], width)] if roomy else []
    lines = [title_line(snapshot, width), *band(snapshot, width, 3 if air else 1)]
    device_rows = max(0, (height - 2 * _ROWS_OF_A_DEVICE) // _ROWS_OF_A_DEVICE)
    lines += [*totals_lines(snapshot, width), *device_lines(snapshot.devices, width, device_rows), *air]
    room = height - len(lines) - len(air) - _MIN_NOTICES
    if len(snapshot.cameras) + 1 <= room:
        lines += table_lines(snapshot.cameras, width)
    else:
        recipes = recipe_lines(snapshot.cameras, width)
        lines += [*recipes, *grid_lines(snapshot.cameras, width, room - len(recipes))]
    lines += air
    return [*lines, *notice_lines(snapshot, width, height - len(lines))][:height]


def can_show(console: Console) -> bool:
    """Whether `console` is a terminal that can redraw a screen in place; otherwise use the status line."""
    return console.is_terminal and not console.is_dumb_terminal


async def run_dashboard(
    get_snapshot: Callable[[], Snapshot], refresh_per_s: float, console: Console, get_foot: Callable[[], str] = str
) -> None:
    """Show the dashboard on the terminal of `console` until cancelled; always restore the terminal.

    What `get_foot` returns stands in the last line, of the terminal alone; the drawing thread calls it.

    `get_snapshot` is called in the event loop; drawing happens in a thread of its own, because writing to
    a terminal that is paused (Ctrl-S) or slow blocks. If the terminal closes, the dashboard ends with a log entry; the
    inspection continues.
    """
    await run_painter(lambda: _screen(console, get_foot), get_snapshot, 1.0 / refresh_per_s)


@contextmanager
def _screen(console: Console, get_foot: Callable[[], str]) -> Iterator[Callable[[Snapshot], None]]:
    with (
        own_output(console.file) as file,
        Live(
            Text(""),
            console=(own := Console(file=file)),
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as live,
    ):

        def paint(snapshot: Snapshot) -> None:
            # rich asks the file each time, and draws nothing, without an error, once the terminal is gone.
            if not own.is_terminal:
                raise OSError(errno.EIO, "the terminal was closed")
            _fit(own)
            live.update(render(snapshot, *own.size, get_foot()), refresh=True)

        yield paint


def _fit(console: Console) -> None:
    """Give `console` the size of its own terminal, unless people set one: the standard output may lead elsewhere."""
    if {"COLUMNS", "LINES"} & os.environ.keys():
        return
    try:
        found = os.get_terminal_size(console.file.fileno())
    except OSError:
        return
    if all(found):
        console.size = ConsoleDimensions(*found)


#: A dark theme for images of the screen.
_THEME = TerminalTheme(
    (16, 20, 24),
    (204, 210, 216),
    [
        (16, 20, 24),
        (196, 43, 53),
        (92, 184, 112),
        (230, 180, 60),
        (90, 150, 220),
        (180, 120, 200),
        (90, 190, 200),
        (204, 210, 216),
    ],
    [
        (118, 128, 138),
        (255, 92, 92),
        (120, 220, 140),
        (250, 210, 100),
        (120, 180, 250),
        (210, 150, 230),
        (120, 220, 230),
        (255, 255, 255),
    ],
)

#: rich's own template loads fonts over the network; an image in documentation should not.
_SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: "DejaVu Sans Mono", "Fira Code", Menlo, Consolas, monospace; font-size: \
{char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>\
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def svg_of(snapshot: Snapshot, width: int = 120, height: int = 36) -> str:
    """Return the screen as an SVG image."""
    console = Console(
        record=True, file=StringIO(), width=width, height=height, force_terminal=True, color_system="truecolor"
    )
    for line in screen_lines(snapshot, width, height):
        console.print(to_text(line), soft_wrap=True)
    return console.export_svg(title="vision-line", theme=_THEME, code_format=_SVG)


@contextmanager
def own_output(stream: IO[str]) -> Iterator[IO[str]]:
    """Yield an unbuffered text stream of our own on the file that `stream` writes to.

    A thread that is stuck in a write to `sys.stdout` (a paused terminal, a pipe that nobody reads) holds the lock of
    its buffer, and Python aborts at exit because it cannot flush it. This stream has no buffer and no such lock.
    A stream in memory has no file, and is yielded itself.
    """
    try:
        raw = io.FileIO(os.dup(stream.fileno()), "w")
    except io.UnsupportedOperation:
        yield stream
        return
    stream.flush()
    with io.TextIOWrapper(raw, encoding="utf-8", errors="replace", write_through=True) as text:
        yield text
