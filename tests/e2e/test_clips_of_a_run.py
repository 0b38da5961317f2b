# SPDX-License-Identifier: AGPL-3.0-or-later
"""`[clips]`: a run with the simulator's cameras leaves the footage of its events, and what it says of it holds."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable

import av
import pytest
from tests.e2e.conftest import COMMAND, LineRun
from tests.fakes.tiny_model import build_tiny_model
from tests.fakes.waiting import wait_for

from vision_line.devices.model.model import SHIPPED_BUNDLE
from vision_line.reinspection.footage import FootageKind
from vision_line.reinspection.outcome import Outcome
from vision_line.reinspection.same_things import ChangeKind

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


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
    check_reinspected(run, len(events))
    (run.records / rows[0][1]).unlink()
    broken = subprocess.run([COMMAND, "verify", run.records, "--pictures"], text=True, capture_output=True, check=False)
    assert (broken.returncode, "is missing, and was not removed" in broken.stderr) == (5, True)


def check_reinspected(run: LineRun, events: int) -> None:
    """Check that the same model changes nothing but by circumstance, and that one which knows other classes does."""
    unknowing = run.records.parent / "colours.onnx"
    unknowing.write_bytes(build_tiny_model())
    same = reinspected(run, ["--model", SHIPPED_BUNDLE, "--before", SHIPPED_BUNDLE])
    other = reinspected(run, ["--model", unknowing, "--before", SHIPPED_BUNDLE, "--allow-failed-gates"])

    clips = same.counts[FootageKind.CLIP]
    assert same.not_inspected == ()
    assert clips.same + clips.verdict + clips.other_class + clips.lost <= events
    assert clips.same >= 1
    assert same.counts == same.counts_before
    assert all(change.is_circumstance for change in same.changes)
    assert other.before == same.after
    assert other.counts[FootageKind.CLIP].same == 0
    assert {change.kind for change in other.changes} & {ChangeKind.LOST, ChangeKind.CLASS}


def reinspected(run: LineRun, options: list[object]) -> Outcome:
    """Return what the command writes; what was inspected before by the same model is not inspected again."""
    folder = run.records.parent / "reinspected"
    command = [COMMAND, "reinspect", "--record", run.records, "-o", folder, *options]
    done = subprocess.run(list(map(str, command)), text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (folder / "changes.csv").read_text().startswith("kind,footage,camera")
    return Outcome.model_validate_json((folder / "changes.json").read_text())
