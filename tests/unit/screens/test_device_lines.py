# SPDX-License-Identifier: AGPL-3.0-or-later
"""The GPUs' load on the dashboard and in the status line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.screens.conftest import gpu

from vision_line.ports import DeviceLoad
from vision_line.screens.dashboard import screen_lines
from vision_line.screens.device_lines import device_lines, device_words
from vision_line.screens.segments import width_of
from vision_line.screens.status_line import plain_line
from vision_line.screens.styles import NOTICE
from vision_line.telemetry.snapshot import Snapshot

Maker = Callable[[int], Snapshot]
SILENT = DeviceLoad("cuda:0", 1100, 12_288)
LARGE = DeviceLoad("cuda:15", 77_100, 81_920, 100, 100, 700.0, 1e9, 104, throttled=True)


def text_of(loads: list[DeviceLoad], width: int = 80, rows: int = 4) -> list[str]:
    return ["".join(text for text, _ in line).rstrip() for line in device_lines(loads, width, rows)]


def test_a_line_holds_every_figure_of_a_gpu() -> None:
    """Within 80 cells, the largest GPU's as well."""
    assert text_of([gpu(0)]) == [" cuda:0  infers 32 %   decodes 53 %   memory 1.1 of 24.0 GB   35 W   61 °C"]
    assert text_of([LARGE]) == [" cuda:15 infers 100 %  decodes 100 %  memory 75.3 of 80.0 GB  700 W  104 °C ▲"]


def test_what_a_gpu_does_not_report_is_a_dash() -> None:
    """A missing figure is no zero."""
    assert text_of([SILENT]) == [" cuda:0  infers –      decodes –      memory 1.1 of 12.0 GB   –      –"]
    assert device_words(SILENT) == "cuda:0 1100 MB"


@pytest.mark.parametrize(("load", "marked"), [(gpu(0), set()), (gpu(2), {"93 °C ▲"}), (gpu(3), {"23.3 of 24.0 GB"})])
def test_limits_are_marked(load: DeviceLoad, marked: set[str]) -> None:
    """A GPU that is too hot, or full, looks so."""
    (line,) = device_lines([load], 80, 1)

    assert {text.strip() for text, style in line if style == NOTICE} == marked


def test_more_gpus_than_rows_are_counted() -> None:
    """The last line says how many have none."""
    lines = text_of([gpu(number) for number in range(5)], rows=2)

    assert [line.split()[0] for line in lines] == ["cuda:0", "cuda:1"]
    assert lines[1].endswith("+ 3 more")
    assert text_of([gpu(0)], rows=0) == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(width=st.integers(20, 220), height=st.integers(6, 70), cameras=st.integers(2, 80), gpus=st.integers(0, 9))
def test_the_screen_fits_any_size(well_line: Maker, width: int, height: int, cameras: int, gpus: int) -> None:
    """No number of GPUs breaks the screen, or takes the cameras' and the notices' room."""
    snapshot = replace(well_line(cameras), devices=tuple(gpu(number) for number in range(gpus)))
    lines = screen_lines(snapshot, width, height)
    shown = sum(any(text.startswith("cuda:") for text, _ in line) for line in lines)

    assert {width_of(line) for line in lines} == {width}
    assert len(lines) <= height
    assert shown <= min(gpus, height // 6)
    assert shown > 0 or gpus == 0 or height < 18


def test_sixteen_cameras_and_a_gpu_have_their_lines_on_a_small_terminal(well_line: Maker) -> None:
    """On 80 x 24 the GPU takes no camera its line."""
    snapshot = replace(well_line(16), devices=(gpu(0),))
    screen = "\n".join("".join(text for text, _ in line) for line in screen_lines(snapshot, 80, 24))

    assert "cuda:0" in screen
    assert "running" in next(line for line in screen.splitlines() if "cam16" in line)


def test_the_status_line_holds_each_gpu(well_line: Maker) -> None:
    """Behind the defects; without a GPU there is nothing of it."""
    line = plain_line(replace(well_line(4), devices=(gpu(0), gpu(1))))

    assert (
        "| defects 10 | cuda:0 infers 32 % decodes 53 % 1100 MB 35 W 61 °C"
        " | cuda:1 infers 33 % decodes 100 % 1101 MB 35 W 61 °C | log ok" in line
    )
    assert "cuda" not in plain_line(well_line(4))
