# SPDX-License-Identifier: AGPL-3.0-or-later
"""A configuration that changes under the running line, and videos instead of cameras."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.fakes.waiting import wait_for

from vision_line.simulator.clips import ensure_clips

pytestmark = pytest.mark.e2e


def states_of(run: Any, camera: str) -> list[str]:
    rows = run.query("SELECT camera, state FROM states ORDER BY change")
    return [state for name, state in rows if name == camera]


def test_cameras_come_go_and_change_without_touching_the_others(make_run: Callable[[int], Any]) -> None:
    """cam01 runs through everything without a change of state; an invalid file changes nothing.

    A reload that moves a camera behind those that `--cameras` asks for says which one is not inspected any more.
    """
    run = make_run(3)
    run.write_streams(["cam01", "cam02"])
    run.start("--cameras", "2")
    wait_for(lambda: "RUNNING" in states_of(run, "cam02"), run.text)

    run.write_streams(["cam01", "cam03"])
    wait_for(lambda: "RUNNING" in states_of(run, "cam03") and "REMOVED" in states_of(run, "cam02"), run.text)

    run.write_streams(["cam01", "cam03"], extra='[[stream]]\nname = "bad"\nurl = "http://x"\n')
    wait_for(lambda: "the previous one stays in force" in run.text(), run.text)
    wait_for(lambda: "ALARM the configuration as it is now is not used: " in run.text(), run.text)
    assert "stream[bad].url" in run.text()

    run.write_streams(["cam01", "cam02", "cam03"])
    run.signal(signal.SIGHUP)
    wait_for(lambda: states_of(run, "cam02")[-1] == "RUNNING", run.text)
    assert "left out by --cameras from now on, and not inspected: cam03" in run.text()
    run.signal(signal.SIGINT)

    assert run.wait() == 130
    assert states_of(run, "cam01") == ["CONNECTING", "RUNNING"]
    assert states_of(run, "cam02") == ["CONNECTING", "RUNNING", "REMOVED", "CONNECTING", "RUNNING"]


def test_every_frame_of_a_video_is_inspected_and_the_run_ends_by_itself(make_run: Callable[[int], Any]) -> None:
    """A file is not a camera: nothing is dropped, whatever the speed."""
    run = make_run(1)
    clip = ensure_clips(1, 1)[0]
    run.streams.write_text(
        f'config_version = 1\n[[stream]]\nname = "video"\nurl = "file:{clip.video}"\npaced = false\n', encoding="utf-8"
    )
    assert run.run(within_s=120) == 0, run.text()[-3000:]

    (camera,) = run.summary()["cameras"]
    assert camera["state"] == "ENDED"
    assert camera["frames_arrived"] == camera["frames_inspected"] == clip.frames
    assert camera["frames_dropped"] == {}


def test_a_capped_video_takes_as_long_as_it_was_recorded(make_run: Callable[[int], Any]) -> None:
    """What is beyond `inspect_fps` is counted, and the clip is not stretched."""
    run = make_run(1)
    clip = ensure_clips(1, 1, frames=200)[0]
    run.streams.write_text(
        'config_version = 1\n[[stream]]\nname = "video"\ninspect_fps = 5\n' + f'url = "file:{clip.video}"\n',
        encoding="utf-8",
    )
    recorded_s = clip.frames / 25
    started_s = time.monotonic()
    assert run.run(within_s=recorded_s + 60) == 0, run.text()[-3000:]
    took_s = time.monotonic() - started_s

    (camera,) = run.summary()["cameras"]
    assert camera["frames_inspected"] == clip.frames / 5
    assert camera["frames_dropped"] == {"rate_cap": clip.frames * 4 / 5}
    assert recorded_s - 0.5 < took_s < 2 * recorded_s + 30


def test_a_single_frame_is_inspected_before_the_run_ends(make_run: Callable[[int], Any], tmp_path: Path) -> None:
    """Its file has ended while it is still on the device."""
    Image.new("RGB", (640, 360), (40, 90, 60)).save(tmp_path / "board.png")
    run = make_run(1)
    run.streams.write_text(
        f'config_version = 1\n[[stream]]\nname = "a"\nurl = "file:{tmp_path}/board.png"\n', encoding="utf-8"
    )
    assert run.run() == 0, run.text()[-3000:]
    (camera,) = run.summary()["cameras"]
    assert (camera["frames_inspected"], camera["state"]) == (1, "ENDED")
