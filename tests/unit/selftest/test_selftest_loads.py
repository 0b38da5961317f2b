# SPDX-License-Identifier: AGPL-3.0-or-later
"""Load tests and their reports, on the simulated device."""

from __future__ import annotations

import pytest

from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.devices.cuda.context import GpuContext
from vision_line.errors import RunError, SourceError, SourceErrorCode
from vision_line.ports import Decoder, DeviceLoad
from vision_line.selftest.device_under_test import DeviceUnderTest, LoadResult
from vision_line.selftest.load_test import run_alone, run_full, run_paced
from vision_line.selftest.order_check import check_order
from vision_line.selftest.rate_check import measure_latency, measure_memory, measure_power, measure_throughput
from vision_line.selftest.report import CheckOutcome, Status
from vision_line.selftest.videos import KINDS, VideoKind, opened
from vision_line.telemetry.load_history import LoadFigure, LoadTotals

GPU = GpuContext(0, "Some GPU", 86, "13.0", 12 << 30, "0000:01:00.0")


def figures_of(outcome: CheckOutcome) -> dict[tuple[str, str], float]:
    """Return the figures by name and what they are of."""
    return {(one.name, one.of): one.value for one in outcome.figures}


def gpu(energy_j: float | None, power_w: float | None) -> LoadTotals:
    """Return the figures of one GPU."""
    mean = None if power_w is None else LoadFigure(power_w, power_w)
    return LoadTotals("cuda:0", 5, 12000, LoadFigure(1100, 1300), LoadFigure(30, 40), None, mean, None, energy_j)


def test_cameras_send_at_their_own_pace(dut: DeviceUnderTest) -> None:
    """Every packet that was due is inspected by a device that is quick enough, and its latency is known."""
    load = run_paced(dut)

    assert load.due == pytest.approx(3 * 20 * 0.2, abs=3)
    assert 0 < load.inspected <= load.due
    assert len(load.latency_ms) == load.inspected
    assert list(load.latency_ms) == sorted(load.latency_ms)
    assert dut.device.in_flight() == 0


def test_a_camera_that_cannot_be_decoded_ends_the_load(dut: DeviceUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one's reason is reported; no thread is left."""

    def refuse(camera: str, _stream: object, _colour: object) -> Decoder:
        raise SourceError(camera, SourceErrorCode.CODEC_UNSUPPORTED, "no session is left")

    assert dut.decoded_frames
    monkeypatch.setattr(dut, "open_decoder", refuse)

    with pytest.raises(RunError, match="camera 'camera00': CODEC_UNSUPPORTED: no session is left"):
        run_paced(dut)


def test_a_full_load_counts_what_comes_back(dut: DeviceUnderTest) -> None:
    """Batches are as large as asked for."""
    load = run_full(dut, 4, 0.1)

    assert load.inspected == load.due
    assert load.inspected % 4 == 0
    assert load.inspected_fps > 0
    assert len(run_alone(dut, 3)) == 3


def test_throughput_latency_and_order_are_reported(dut: DeviceUnderTest) -> None:
    """The checks that every device has."""
    order, throughput, latency = check_order(dut), measure_throughput(dut), measure_latency(dut)

    assert {order.status, throughput.status, latency.status} == {Status.PASSED}
    assert {of for name, of in figures_of(throughput) if name == "inspected_fps"} == {
        "full, batches of 1",
        "full, batches of 3",
        "full, batches of 4",
    }
    names = {name for name, _ in figures_of(latency)}
    assert {"submit_to_result_ms_p50", "packet_to_result_ms_p95", "frames_due", "frames_inspected"} <= names
    assert dut.paced is not None


def test_energy_comes_from_the_counter(dut: DeviceUnderTest) -> None:
    """Of 70 J in 2 s each of 35 frames has its share."""
    dut.gpu = GPU
    dut.paced = LoadResult(2.0, 40, 35, (), (gpu(70.0, 99.0),))

    outcome = measure_power(dut)

    assert outcome.sentence == "35.0 W on average, 2.000 J per inspected frame"
    assert figures_of(outcome)["sm_percent", "3 cameras at 20 fps"] == 30


@pytest.mark.parametrize("energy_j", [None, 0.0])
def test_without_a_counter_energy_comes_from_the_power(dut: DeviceUnderTest, energy_j: float | None) -> None:
    """A counter that stands still is none."""
    dut.gpu = GPU
    dut.paced = LoadResult(2.0, 40, 35, (), (gpu(energy_j, 17.5),))

    assert measure_power(dut).sentence == "17.5 W on average, 1.000 J per inspected frame"


def test_what_is_not_reported_is_not_invented(dut: DeviceUnderTest) -> None:
    """No GPU, no paced load, or no NVML: each is said."""
    assert measure_power(dut).sentence == "there is no GPU"
    dut.gpu = GPU
    assert measure_power(dut).sentence == "the paced load did not run"
    dut.paced = LoadResult(2.0, 40, 0, (), ())
    dut.no_samples_reason = "nvidia-ml-py is missing"
    outcome = measure_power(dut)
    assert (outcome.status, outcome.sentence) == (Status.SKIPPED, "nvidia-ml-py is missing")
    assert "GPU memory is not known: nvidia-ml-py is missing" in measure_memory(dut).sentence


def test_memory_is_the_growth_of_all_processes(dut: DeviceUnderTest) -> None:
    """From before the opening to the largest that was seen."""
    dut.gpu = GPU
    dut.memory_before = DeviceLoad("cuda:0", 300, 12000)
    dut.memory_after = DeviceLoad("cuda:0", 1200, 12000)
    dut.paced = LoadResult(2.0, 40, 35, (), (gpu(None, None),))

    outcome = measure_memory(dut)

    assert outcome.sentence.startswith("1000 MiB of GPU memory")
    assert figures_of(outcome)["gpu_memory_loaded_mb", "all processes"] == 1300


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_videos_are_as_cameras_send_them(dut: DeviceUnderTest, kind: VideoKind) -> None:
    """Each packet is one frame, and they come in the order of display."""
    video = dut.encoded(kind)
    if video is None:
        pytest.skip(f"this PyAV has no encoder for {kind}")
    with opened(video) as (stream, packets):
        decoder = CpuDecoder("camera", stream)
        frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
        times = [packet.pts or 0 for packet in packets]

    assert len(packets) == len(frames) == dut.settings.frames
    assert times == sorted(times)
    assert {frame.size_wh for frame in frames} == {(640, 360)}
    assert frames[0].colour.assumed is not kind.described
