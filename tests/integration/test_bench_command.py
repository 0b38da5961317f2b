# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line bench` on this machine: what it writes is what a node reads, and says on what it was measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from vision_line.cli.main import cli
from vision_line.cores import usable_cores
from vision_line.devices.model.model import open_model
from vision_line.devices.proof.processor import this_processor
from vision_line.fleet.box_capacity import BoxCapacity
from vision_line.selftest.device_under_test import DeviceUnderTest


def test_what_is_measured_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one small camera that any machine inspects in time; the load is that of before the device was opened."""
    monkeypatch.setattr("vision_line.selftest.camera_count.MOST_CAMERAS", 1)
    opened, open_device = list[DeviceUnderTest](), DeviceUnderTest.open

    def noted(dut: DeviceUnderTest) -> None:
        opened.append(dut)
        open_device(dut)

    monkeypatch.setattr(DeviceUnderTest, "open", noted)
    monkeypatch.setattr("os.getloadavg", lambda: (99.0 if opened else 0.0, 0.0, 0.0))
    file = tmp_path / "capacity.json"
    small = ["--size", "320x180", "--fps", "4", "--inspect-fps", "2", "--latency-ms", "30000", "--seconds", "1"]
    done = CliRunner().invoke(cli, ["bench", "--device", "cpu", *small, "--write", str(file)])

    assert done.exit_code == 0, done.output
    found = BoxCapacity.model_validate_json(file.read_bytes())
    assert (found.inspections_per_s, found.mpixels_per_s) == (2.0, 0.23)
    assert found.measured is not None
    assert found.measured.decoded_mpixels_per_s["h264"] > 0
    assert opened
    assert found.measured.load == 0.0
    assert "other programs" not in done.output
    assert found.measured.more_not_tried
    assert "at least 1 cameras of 320x180 at 4 fps in h264, each inspected 2 times a second" in done.output
    assert not list(found.doubts(this_processor().name, usable_cores(), open_model(None).sha256))


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--codec", "mjpeg"], "--codec: expected h264 or hevc"),
        (["--inspect-fps", "30"], "--inspect-fps: expected at most 25"),
    ],
)
def test_what_no_camera_does(words: list[str], problem: str) -> None:
    """Is said before anything is measured."""
    done = CliRunner().invoke(cli, ["bench", *words])

    assert done.exit_code == 2
    assert problem in done.output
