# SPDX-License-Identifier: AGPL-3.0-or-later
"""How shipping is, as its process notes it and as the line shows it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from vision_line.errors import RunError
from vision_line.telemetry.output_metrics import output_notices, output_series
from vision_line.telemetry.output_status import SILENT_S, OutputState
from vision_line.telemetry.outputs_watch import WatchedOutput
from vision_line.telemetry.series_text import SeriesText
from vision_line.telemetry.shipping_status import FILE_NAME, ShippingStatus, read_shipping_status

STATE = OutputState("connected", 1.0, None, 0, 0.0, time.time())
STATUS = ShippingStatus("box1", STATE, {"records": 7, "parts": 2}, 9, 0, 0.1)


def shown(status: ShippingStatus, *, is_running: bool = True) -> WatchedOutput:
    """Return the shipper as the line watches it."""
    return WatchedOutput("central", status.as_output, is_running, is_running)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Nothing is there before; what is none of ours is said to be so."""
    assert read_shipping_status(tmp_path) is None

    STATUS.write(tmp_path)

    assert read_shipping_status(tmp_path) == STATUS
    (tmp_path / FILE_NAME).write_text("{}", encoding="utf-8")
    with pytest.raises(RunError, match="expected what vision-line ship writes"):
        read_shipping_status(tmp_path)


def test_the_line_says_what_is_wrong() -> None:
    """A process that does not run, and a clock that is off; nothing where all is well."""
    off = replace(STATUS, clock_offset_s=-1.5)

    assert output_notices([shown(STATUS)]) == []
    assert output_notices([shown(STATUS, is_running=False)]) == [
        "vision-line ship does not run: no records go to [central]"
    ]
    (notice,) = output_notices([shown(off)])
    assert "-1.5 s off" in notice
    assert not STATUS.as_output.is_running(STATE.updated_utc + SILENT_S + 1)
    assert not STATUS.as_output.is_running(STATE.updated_utc - SILENT_S - 1)  # the clock was set back since


def test_its_series() -> None:
    """Those of an output, and the clock's."""
    text = "".join(output_series([shown(STATUS)], SeriesText()))

    assert 'vision_line_output_up{output="central"} 1' in text
    assert 'vision_line_output_messages_total{output="central"} 9' in text
    assert 'vision_line_output_clock_offset_seconds{output="central"} 0.1' in text
