# SPDX-License-Identifier: AGPL-3.0-or-later
"""`[clips]`: a run with the simulator's cameras leaves the footage of its events, and what it says of it holds."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable

import av
import pytest
from tests.e2e.conftest import COMMAND, LineRun, wait_for

pytestmark = pytest.mark.e2e


def test_events_of_a_run_have_their_footage(make_run: Callable[[int], LineRun]) -> None:
    """Each one is in a clip, also those under way at the end; it is exported, and its bytes are checked."""
    run = make_run(2)
    run.write_streams(run.names, extra="[clips]\npre_s = 1.0\npost_s = 0.5\nmax_s = 20.0\n")
    run.start()
    wait_for(lambda: run.query("SELECT 1 FROM clips WHERE path IS NOT NULL"), "a clip is written")
    run.signal(signal.SIGTERM)
    assert run.wait() == 130, run.text()[-2000:]

    rows = run.query("SELECT events, path, frames, reencoded, missing, begins_s, ends_s FROM clips")
    events = {event for (event,) in run.query("SELECT event_id FROM events")}
    assert {name for row in rows for name in json.loads(row[0])} == events
    for _, path, frames, reencoded, missing, begins_s, ends_s in rows:
        assert (missing, reencoded) == (None, 0)
        assert ends_s - begins_s <= 20.0 + 5.0  # and what lies before the first sight up to a keyframe
        with av.open(str(run.records / path)) as container:
            assert sum(1 for _ in container.decode(video=0)) == frames

    checked = subprocess.run(
        [COMMAND, "verify", run.records, "--pictures"], text=True, capture_output=True, check=False
    )
    assert (checked.returncode, f"clips: {len(rows)} hold" in checked.stdout) == (0, True), checked.stderr
    (run.records / rows[0][1]).unlink()
    broken = subprocess.run([COMMAND, "verify", run.records, "--pictures"], text=True, capture_output=True, check=False)
    assert (broken.returncode, "is missing, and was not removed" in broken.stderr) == (5, True)
