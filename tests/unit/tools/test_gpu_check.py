# SPDX-License-Identifier: AGPL-3.0-or-later
"""The check of a GPU machine: what its stages find is kept whatever happens, and they run on the fakes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests.fakes.fakecuda.driver import missing
from tools.gpu_check.__main__ import REPORT, ROOT, STAGES, Stage, gather, run
from tools.gpu_check.findings import FAKES, OUT, Findings, percentile, run_stage
from tools.gpu_check.plain_sps import plain, without_vui

from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.selftest.report import failed, figure
from vision_line.selftest.videos import H264, draw_images, encode_video, opened

#: What is rehearsed; the self-test has a test of its own. `python -m tools.gpu_check --fakes` rehearses all.
REHEARSED = ("facts", "capture", "latency")


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where stages write."""
    monkeypatch.setenv(OUT, str(tmp_path))
    monkeypatch.setenv("GPU_CHECK_FAKES", "0")
    return tmp_path


def rehearsed(folder: Path, *stages: str) -> dict[str, dict[str, Any]]:
    """Run stages on the fakes, each in a process of its own, and return what each found."""
    if reason := missing():
        pytest.skip(reason)
    command = [sys.executable, "-m", "tools.gpu_check", "--fakes", "--out", str(folder), "--only", *stages]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found: dict[str, dict[str, Any]] = json.loads((folder / REPORT).read_text(encoding="utf-8"))

    assert list(found) == list(stages)
    assert {name: one["faults"] for name, one in found.items()} == {name: [] for name in stages}
    assert done.returncode == 0
    return found


def test_a_stage_runs_on_the_fakes(tmp_path: Path) -> None:
    """As on a GPU machine; it passes there."""
    rehearsed(tmp_path, REHEARSED[0])


@pytest.mark.long
@pytest.mark.timeout(1800)  # minutes of computing, where nothing else is computed
def test_the_stages_run_on_the_fakes(tmp_path: Path) -> None:
    """All of them pass there."""
    found = rehearsed(tmp_path, *REHEARSED)

    assert found["capture"]["wrong"] == 0
    assert found["latency"]["H.264: PyNvVideoCodec LOW"]["most_packets_late"] == 0
    assert found["latency"]["H.264 without VUI: PyNvVideoCodec LOW"]["most_packets_late"] > 0
    assert found["latency"]["H.264 without VUI: PyNvVideoCodec ZERO"]["most_packets_late"] == 0
    program = found["latency"]["H.264 without VUI: the program"]
    assert program["most_packets_late"] > 0
    assert program["late_at_the_end"] == 0
    assert program["out"] == program["packets"]
    assert found["latency"]["H.264: PyNvVideoCodec NATIVE"]["most_packets_late"] > 0


def test_a_stage_that_raises_leaves_what_it_found(out: Path) -> None:
    """With where it was."""

    def stage(findings: Findings) -> None:
        findings.note("frames", 7)
        raise LookupError("no such surface")

    code = run_stage("broken", stage)
    found = json.loads((out / "broken.json").read_text(encoding="utf-8"))

    assert code == 1
    assert (found["passed"], found["frames"], found["faults"]) == (False, 7, ["LookupError: no such surface"])
    assert "raise LookupError" in found["traceback"]


def test_a_failed_check_is_a_fault(out: Path) -> None:
    """Its figures are kept."""
    code = run_stage(
        "one", lambda findings: findings.outcome("bits", failed("3 differ", [figure("wrong", "", 3, "values")]))
    )
    found = json.loads((out / "one.json").read_text(encoding="utf-8"))

    assert code == 1
    assert found["faults"] == ["bits: 3 differ"]
    assert found["bits"]["figures"] == {"wrong": 3}


def test_a_stage_that_hangs_or_is_killed_is_in_the_report(tmp_path: Path) -> None:
    """The others are too; the exit code says that not all passed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    hanging = Stage(
        "hanging", "facts", 0.5, under=(sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)")
    )
    run(hanging, tmp_path, environment, time.monotonic() + 60)
    (tmp_path / "whole.json").write_text('{"passed": true}', encoding="utf-8")
    code = gather(tmp_path, ["whole", "hanging"])
    found = json.loads((tmp_path / REPORT).read_text(encoding="utf-8"))

    assert code == 1
    assert found["whole"] == {"passed": True}
    assert found["hanging"]["faults"] == ["it left no file"]
    assert found["hanging"]["said"] == "here\n"


def test_a_rehearsal_has_time_on_a_busy_machine(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What ends a stage on a GPU that is at fault would only say there how much else the processor does."""
    slow = Stage("slow", "facts", 1.0, under=(sys.executable, "-c", "import time; time.sleep(2)"))
    ended = {}
    for fakes in ("0", "1"):
        environment = os.environ | {"PYTHONPATH": str(ROOT), FAKES: fakes}
        run(slow, tmp_path, environment, time.monotonic() + 600)
        ended[fakes] = capfd.readouterr().out

    assert "stopped after 1 s" in ended["0"]
    assert "stopped after" not in ended["1"]


def test_no_stage_begins_when_the_time_is_used_up(tmp_path: Path) -> None:
    """It is in the report as such."""
    run(replace(STAGES[0], name="late"), tmp_path, os.environ, time.monotonic() + 1)

    assert gather(tmp_path, ["late"]) == 1
    assert json.loads((tmp_path / REPORT).read_text(encoding="utf-8"))["late"]["said"] == "not begun"


def test_an_sps_without_vui_is_decoded_as_before() -> None:
    """And nothing else of the stream changes."""
    video = encode_video(H264, draw_images((320, 192), 4))
    assert video is not None
    with opened(video) as (stream, packets):
        cut = [plain(bytes(packet)) for packet in packets]
        wanted = [
            frame.data.to_ndarray() for packet in packets for frame in CpuDecoder("whole", stream).decode(packet)
        ][:1]
    context = av.CodecContext.create("h264", "r")
    found = [frame for data in cut for frame in context.decode(av.Packet(data))] + list(context.decode(None))

    assert len(cut[0]) < len(bytes(packets[0]))
    assert len(found) == 4
    assert np.array_equal(found[0].to_ndarray(), wanted[0])


def test_a_cut_sps_keeps_what_it_says_of_the_frames() -> None:
    """Its size and its profile; an SPS of High profile has more fields before them."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="h264") as writer:
        stream = writer.add_stream("libx264", rate=25, options={"preset": "veryfast", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 642, 362, "yuv420p"  # cropped: 41 x 23 macroblocks
        stream.codec_context.thread_count = 1
        for _ in range(3):
            writer.mux(stream.encode(av.VideoFrame(642, 362, "yuv420p")))
        writer.mux(stream.encode(None))
    context = av.CodecContext.create("h264", "r")
    frames = [*context.decode(av.Packet(plain(memory.getvalue()))), *context.decode(None)]

    assert {(frame.width, frame.height) for frame in frames} == {(642, 362)}
    assert context.profile == "High"


def test_scaling_lists_are_refused() -> None:
    """They are not read, so what follows them cannot be found."""
    with pytest.raises(ValueError, match="without scaling lists"):
        without_vui(bytes([0x67, 100, 0, 31]) + bytes([0b1_010_1_1_0_1, 0b1000_0000]))


def test_a_percentile_of_nothing_is_no_number() -> None:
    """Of few values it is one of them."""
    assert np.isnan(percentile([], 0.5))
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([3.0, 1.0, 2.0], 0.95) == 3.0
