# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a line says of its outputs: on the dashboard, and to Prometheus; from the file that their process writes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vision_line.outputs.cursor import Cursor, CursorKey, JournalName
from vision_line.outputs.cursor_file import CursorFile
from vision_line.telemetry import shipping_status
from vision_line.telemetry.output_metrics import output_notices, output_series
from vision_line.telemetry.output_status import FILE_NAME, OutputState
from vision_line.telemetry.outputs_watch import OutputsWatch
from vision_line.telemetry.series_text import SeriesText


def noted(directory: Path, name: str, state: str, at_utc: float, error: str | None = None, behind_s: float = 0) -> None:
    """Note how an output is, as its process does."""
    file = CursorFile(directory)
    file.save(CursorKey(name), Cursor(7, b"7", sent=5, lost=2))
    file.save(CursorKey(name, JournalName.PARTS), Cursor(3, b"3", sent=3, repeated=1))
    file.sync({name: OutputState(state, at_utc, error, int(behind_s), behind_s, at_utc)})
    file.close()


def put(path: Path, text: str) -> None:
    """Write a file at once: one that is empty for a moment is an empty database, in which nothing is known."""
    beside = path.with_suffix(".new")
    beside.write_text(text, encoding="ascii")
    beside.replace(path)


def found(watch: OutputsWatch, holds: Callable[[OutputsWatch], bool]) -> OutputsWatch:
    deadline_s = time.monotonic() + 20
    while not holds(watch):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    return watch


def test_an_output_that_gets_nothing_is_said_with_why(tmp_path: Path) -> None:
    """One that works is not; what is not configured any more is nobody's trouble."""
    noted(tmp_path, "away", "retrying", 1000.0, "UNREACHABLE: no route", behind_s=94.0)
    noted(tmp_path, "slow", "connected", 1000.0, behind_s=30.0)
    noted(tmp_path, "well", "connected", 1000.0)
    noted(tmp_path, "former", "retrying", 1000.0, "LOST: long ago")
    watch = OutputsWatch(tmp_path, ["away", "slow", "well"], 0.01, lambda: 1001.0)
    found(watch, lambda one: all(output.known for output in one.outputs()))
    watch.close()

    assert output_notices(watch.outputs()) == [
        "output away retrying, 94 entries (94 s) behind: UNREACHABLE: no route",
        "output slow connected, 30 entries (30 s) behind",
    ]


def test_outputs_that_nobody_serves_are_said_once_they_had_time_to_begin(tmp_path: Path) -> None:
    """Also one that never began; a process that died keeps its last word in the file."""
    noted(tmp_path, "dead", "connected", 1000.0)
    now_s = [5.0]
    watch = OutputsWatch(tmp_path, ["dead", "never"], 0.01, lambda: 1005.0, lambda: now_s[0])
    found(watch, lambda one: one.outputs()[0].known is not None)
    starting = output_notices(watch.outputs())
    now_s[0] = 20.0
    silent = output_notices(watch.outputs())
    watch.expect(["dead", "other"])
    changed = output_notices(watch.outputs())
    watch.close()

    assert starting == []
    assert silent == ["vision-line outputs does not run: dead, never"]
    assert changed == []


def test_each_configured_output_has_its_series_before_it_begins(tmp_path: Path) -> None:
    """An alert on a series that is not there never fires."""
    noted(tmp_path, "plant", "connected", 1000.0)
    watch = OutputsWatch(tmp_path, ["plant", "new"], 0.01, lambda: 1001.0)
    found(watch, lambda one: one.outputs()[0].known is not None)
    watch.close()
    text = "".join(output_series(watch.outputs(), SeriesText()))

    assert 'vision_line_output_up{output="plant"} 1' in text
    assert 'vision_line_output_up{output="new"} 0' in text
    assert 'vision_line_output_messages_total{output="plant"} 8' in text
    assert 'vision_line_output_lost_total{output="plant"} 2' in text
    assert 'vision_line_output_lost_total{output="new"} 0' in text


def test_a_file_that_cannot_be_read_is_nobody_s_word(tmp_path: Path) -> None:
    """Nothing ends; the outputs are not up."""
    (tmp_path / FILE_NAME).write_text("no database", encoding="ascii")
    watch = OutputsWatch(tmp_path, ["plant"], 0.01, lambda: 1001.0)
    found(watch, lambda one: bool(one._problems))
    watch.close()

    assert [output.is_up for output in watch.outputs()] == [False]


def test_what_was_known_stands_while_a_file_cannot_be_read(tmp_path: Path) -> None:
    """No counter falls, and rises again as if all that was ever lost were lost now; how old it is says the rest."""
    now_s = [1.0]
    noted(tmp_path, "plant", "connected", 1000.0)
    watch = OutputsWatch(tmp_path, ["plant", shipping_status.CENTRAL], 0.01, lambda: 1001.0, lambda: now_s[0])
    found(watch, lambda one: one.outputs()[0].known is not None)
    put(tmp_path / shipping_status.FILE_NAME, "")
    found(watch, lambda one: bool(one._problems))
    assert watch.outputs()[0].is_up
    put(tmp_path / FILE_NAME, "no database")
    found(watch, lambda one: len(one._problems) == 2)
    now_s[0] = 60.0
    watch.close()

    assert 'vision_line_output_lost_total{output="plant"} 2' in "".join(output_series(watch.outputs(), SeriesText()))
    assert [output.is_up for output in watch.outputs()] == [False, False]


@pytest.mark.parametrize("set_to_utc", [0.0, 995.0, 5e9])
def test_what_a_dead_process_said_last_is_old_whatever_the_wall_clock_is_set_to(
    tmp_path: Path, set_to_utc: float
) -> None:
    """Set back, it makes that a word of the future, for as long as it was set back."""
    now_utc, now_s = [1001.0], [1.0]
    noted(tmp_path, "plant", "connected", 1000.0)
    watch = OutputsWatch(tmp_path, ["plant"], 0.01, lambda: now_utc[0], lambda: now_s[0])
    found(watch, lambda one: one.outputs()[0].is_up)
    now_utc[0] = set_to_utc
    assert watch.outputs()[0].is_up
    now_s[0] = 12.0
    notices, up = output_notices(watch.outputs()), watch.outputs()[0].is_up
    watch.close()

    assert (notices, up) == (["vision-line outputs does not run: plant"], False)


def test_a_box_that_boots_with_an_old_time_does_not_believe_the_file(tmp_path: Path) -> None:
    """Until a process says something new, whatever time that one believes it is."""
    noted(tmp_path, "plant", "connected", 1e9)
    watch = OutputsWatch(tmp_path, ["plant"], 0.01, lambda: 0.0, lambda: 1.0)
    found(watch, lambda one: one.outputs()[0].known is not None)
    silent = watch.outputs()[0]
    noted(tmp_path, "plant", "connected", 2.0)
    found(watch, lambda one: one.outputs()[0].is_up)
    watch.close()

    assert (silent.is_running, silent.is_up, silent.is_awaited) == (False, False, True)


def test_a_clock_offset_is_said_only_while_somebody_compares_the_clocks(tmp_path: Path) -> None:
    """An alert of what a dead process found would never end."""
    now_s = [1.0]
    state = OutputState("connected", 1000.0, None, 0, 0.0, 1000.0)
    shipping_status.ShippingStatus("box", state, {"records": 1}, 1, 0, 5.0).write(tmp_path)
    watch = OutputsWatch(tmp_path, [shipping_status.CENTRAL], 0.01, lambda: 1001.0, lambda: now_s[0])
    found(watch, lambda one: one.outputs()[0].is_running)
    compared = "".join(output_series(watch.outputs(), SeriesText()))
    now_s[0] = 20.0
    dead = "".join(output_series(watch.outputs(), SeriesText()))
    watch.close()

    assert 'vision_line_output_clock_offset_seconds{output="central"} 5.0' in compared
    assert "vision_line_output_clock_offset_seconds{" not in dead
    assert 'vision_line_output_up{output="central"} 0' in dead
