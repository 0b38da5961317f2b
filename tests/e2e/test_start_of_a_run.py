# SPDX-License-Identifier: AGPL-3.0-or-later
"""The ledger of a run's first seconds: whose fault it is that nothing is inspected yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.e2e


def test_cameras_that_run_are_not_blamed_for_the_device(make_run: Callable[[int], Any]) -> None:
    """From a camera's first frame until the device is ready the cause is the device's start, and not after."""
    run = make_run(2)
    run.write_streams(run.names, defaults="max_inspection_gap_ms = 200")
    assert run.run("--duration", "3") == 0, run.text()[-3000:]

    for camera in run.names:
        gaps = run.query(
            f"SELECT cause, started_s, ended_s FROM not_inspected WHERE camera = '{camera}' ORDER BY started_s"
        )
        ((running_s,),) = run.query(f"SELECT min(at_s) FROM states WHERE camera = '{camera}' AND state = 'RUNNING'")
        causes = [cause for cause, _, _ in gaps]
        assert causes[:2] == ["camera:CONNECTING", "device:STARTING"]
        assert gaps[0][2] == gaps[1][1] == running_s
        assert "device:STARTING" not in causes[2:]
