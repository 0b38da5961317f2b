# SPDX-License-Identifier: AGPL-3.0-or-later
"""The whole selftest on a machine of fakes: all checks pass there, and what is spoilt is found by its check alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from tests.fakes.gpu_libraries.nvml import FakeNvml
from tests.fakes.gpu_libraries.pynv import FakePyNvVideoCodec, PyNvDecoder, semiplanar
from tests.fakes.machine import CudaMachine

from vision_line.devices.cuda import backend, pipeline
from vision_line.devices.cuda import engine_cache as engine_files
from vision_line.devices.cuda.backend import CudaBackend, open_cuda
from vision_line.devices.cuda.kernel import FRAME_PARAMS, LetterboxKernel, Record
from vision_line.devices.device import InferenceDevice
from vision_line.devices.model.model import open_model
from vision_line.errors import DeviceError
from vision_line.frames import Inspection
from vision_line.selftest import kernel_bits
from vision_line.selftest.device_under_test import Settings, device_under_test
from vision_line.selftest.report import Selftest, Status
from vision_line.selftest.selftest import CHECKS, NOT_OPEN, Check, run_checks

SMALL = Settings(
    seconds=0.25,
    settle_s=0.3,
    repeats=1,
    frames=9,
    submitted=50,
    buckets=(1, 4),
    cameras=3,
    fps=8.0,
    size_wh=(640, 360),
)
#: Sizes whose definition numpy computes quickly.
SIZES_WH = ((320, 180), (161, 91))


@pytest.fixture
def machine(cuda_machine: CudaMachine, monkeypatch: pytest.MonkeyPatch) -> CudaMachine:
    """Put the fakes in place."""
    for module in (engine_files, pipeline, kernel_bits):
        monkeypatch.setattr(module, "cache_folder", lambda: cuda_machine.cache)
    monkeypatch.setattr(kernel_bits, "SIZES_WH", SIZES_WH)
    monkeypatch.setitem(sys.modules, "PyNvVideoCodec", FakePyNvVideoCodec())
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml("nvmlDeviceGetTotalEnergyConsumption"))
    return cuda_machine


def _failures(*names: str) -> tuple[str, ...]:
    """Return which of the named checks fail."""
    return _run(*names).failed


def _run(*names: str, on_begin: Callable[[str], None] | None = None) -> Selftest:
    """Run the named checks, in a thread of their own: its stream for copies to the host ends with it."""
    checks = tuple(check for check in CHECKS if not names or check.name in names)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_report, checks, on_begin).result()


def _report(checks: Sequence[Check], on_begin: Callable[[str], None] | None) -> Selftest:
    with device_under_test("cuda", open_model(None), SMALL) as dut:
        news = []
        for one in run_checks(dut, checks):
            news.append(one)
            if on_begin is not None and one.begun is not None:
                on_begin(one.begun.check)
    head = [one.head for one in news if one.head is not None][-1]
    return head.model_copy(update={"checks": [one.result for one in news if one.result is not None]})


def test_all_checks_pass_on_fakes(machine: CudaMachine) -> None:
    """Each check has a result, and what NVML tells is among the figures."""
    heard: list[str] = []

    report = _run(on_begin=heard.append)

    assert [check.name for check in report.checks] == [check.name for check in CHECKS]
    assert {check.name: check.sentence for check in report.checks if check.status is not Status.PASSED} == {}
    assert heard == [check.name for check in CHECKS]
    figures = {(figure.name, figure.of): figure.value for check in report.checks for figure in check.figures}
    assert figures["engine_ms", "batch of 1"] > 0
    assert figures["engine_ms", "batch of 4"] > 0
    assert figures["kernel_ms", "batch of 4"] > 0
    assert figures["detections_paired", ""] > 0
    assert figures["rgb_largest_difference", "NVDEC, h264 8 bit"] == 0
    assert figures["frames_lost", ""] == 0
    assert figures["gpu_memory_opened_mb", "all processes"] == 1100
    paced = "3 cameras at 8 fps"
    assert figures["frames_due", paced] == 6
    assert figures["power_w", paced] == 35.25
    inspected = figures["frames_inspected", paced]
    assert figures["energy_per_frame_j", paced] == pytest.approx(35.25 * SMALL.seconds / inspected, rel=1e-4)
    assert report.machine.gpu is not None
    assert str(machine.cache) not in report.model_dump_json()


def test_a_kernel_that_is_off_by_a_bit_is_found(machine: CudaMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One coefficient is one step too large."""
    describe = LetterboxKernel.describe

    def spoilt(kernel: LetterboxKernel, surface: Any, colour: Any, box: Any, out: Record) -> None:
        describe(kernel, surface, colour, box, out)
        out.view(FRAME_PARAMS)["matrix"][0, 0, 0] += 64

    monkeypatch.setattr(LetterboxKernel, "describe", spoilt)

    assert _failures("kernel_bits") == ("kernel_bits",)


def test_swapped_colours_are_found(machine: CudaMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that gives Cr before Cb."""

    def swapped(frame: Any) -> Any:
        variant, luma, chroma = semiplanar(frame)
        return variant, luma, chroma.reshape(len(chroma), -1, 2)[..., ::-1].reshape(chroma.shape)

    monkeypatch.setattr("tests.fakes.gpu_libraries.pynv.semiplanar", swapped)

    assert _failures("kernel_bits", "decode_parity") == ("decode_parity",)


def test_a_frame_that_a_decoder_swallows_is_found(machine: CudaMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fifth frame is missing."""
    ready = PyNvDecoder._ready
    monkeypatch.setattr(PyNvDecoder, "_ready", lambda decoder, packet: ready(decoder, packet)[: packet.pts != 5])

    (check,) = _run("decode_parity").checks

    assert check.status is Status.FAILED
    assert "NVDEC, h264 8 bit: frame 8: missing" in check.sentence


Spoil = Callable[[list[Inspection]], list[Inspection]]


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[[Spoil], None]:
    """Return a function that puts another in between the device and who collects."""

    def install(change: Spoil) -> None:
        def opened(*arguments: Any, **options: Any) -> InferenceDevice:
            device = open_cuda(*arguments, **options)
            collect = device.collect
            monkeypatch.setattr(device, "collect", lambda: change(collect()))
            return device

        monkeypatch.setattr(backend, "open_cuda", opened)

    return install


def test_a_lost_frame_is_found(machine: CudaMachine, spoil: Callable[[Spoil], None]) -> None:
    """The tenth frame of the second camera has no result."""
    spoil(lambda found: [one for one in found if (one.frame.camera, one.frame.sequence) != ("camera01", 9)])

    (check,) = _run("ordering").checks

    assert check.status is Status.FAILED
    assert " 1 were lost and 0 came twice, 0 " in check.sentence


def test_results_of_another_row_are_found(machine: CudaMachine, spoil: Callable[[Spoil], None]) -> None:
    """Each frame of a batch has its neighbour's detections."""

    def rolled(found: list[Inspection]) -> list[Inspection]:
        neighbours = found[1:] + found[:1]
        return [replace(one, detections=other.detections) for one, other in zip(found, neighbours, strict=True)]

    spoil(rolled)

    assert _failures("ordering") == ("ordering",)


def test_shifted_detections_are_found(machine: CudaMachine, spoil: Callable[[Spoil], None]) -> None:
    """Boxes that are two pixels too far to the right, one of the network's input, are in order, and not the model's."""

    def shifted(one: Inspection) -> Inspection:
        return replace(one, detections=replace(one.detections, xyxy=one.detections.xyxy + np.float32(2)))

    spoil(lambda found: [shifted(one) for one in found])

    assert _failures("detections", "ordering") == ("detections",)


def test_an_engine_that_fails_does_not_stop_the_others(machine: CudaMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its check fails with a sentence."""
    monkeypatch.setattr("vision_line.selftest.rate_check.find_engine", _refusing)

    report = _run("engine_time", "throughput")

    assert report.failed == ("engine_time",)
    assert report.checks[1].status is Status.PASSED
    (sentence,) = [check.sentence for check in report.checks if check.name == "engine_time"]
    assert sentence == "cuda: model.engine cannot be read"


def test_an_int8_engine_that_computes_in_float_is_found(machine: CudaMachine) -> None:
    """The library took the pairs for leave; of those that it did fuse the report says how many write INT8."""
    right = _run("engine_layers")
    machine.tensorrt.unfused |= {node.name for node in onnx.load(open_model(None).path).graph.node}
    wrong = _run("engine_layers")

    assert not right.failed
    (figures,) = [{one.of: one.value for one in check.figures} for check in right.checks]
    assert min(figures["int8"], figures["int8_read"], figures["float"]) > 0
    assert "convolutions are computed in INT8" in right.checks[0].sentence
    assert wrong.failed == ("engine_layers",)
    assert "an INT8 engine: 0 of" in wrong.checks[0].sentence


def test_an_engine_of_an_older_version_is_no_fault(machine: CudaMachine) -> None:
    """It was built without details of its layers: nothing is known of them, and nothing is wrong."""
    machine.tensorrt.has_details = False
    report = _run("engine_layers")

    assert [check.status for check in report.checks] == [Status.SKIPPED]
    assert "delete it, and it is built anew" in report.checks[0].sentence


def _refusing(*_arguments: object) -> Path:
    raise DeviceError(f"cuda: {Path.home()}/secret place/model.engine cannot be read")


def test_an_engine_that_finds_nothing_is_found(machine: CudaMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO finds defects in the same frames."""
    finished = CudaBackend.finished

    def nothing(device: CudaBackend) -> Iterator[tuple[int, NDArray[Any]]]:
        for slot, outputs in finished(device):
            yield slot, np.zeros_like(outputs)

    monkeypatch.setattr(CudaBackend, "finished", nothing)

    assert _failures("detections") == ("detections",)


def test_without_an_engine_what_needs_none_is_checked(machine: CudaMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU that the library does not know: what failed is named once, what depends on it is not run."""
    monkeypatch.setattr(backend, "open_cuda", _refusing)

    report = _run("kernel_bits", "decode_rate", "opening", "proof", "throughput")

    statuses = {check.name: check.status for check in report.checks}
    assert statuses == {
        "kernel_bits": Status.PASSED,
        "decode_rate": Status.PASSED,
        "opening": Status.FAILED,
        "proof": Status.SKIPPED,
        "throughput": Status.SKIPPED,
    }
    assert report.checks[-1].sentence == NOT_OPEN
    assert report.model.precision == "int8"


def test_what_nobody_foresaw_stays_with_its_check(machine: CudaMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library raises what it never said that it would; the next check goes on."""

    def broken(*_arguments: object, **_options: object) -> None:
        raise ZeroDivisionError(f"in {Path.home()}/secret place/driver.py")

    monkeypatch.setattr("vision_line.selftest.rate_check.time_kernel", broken)

    report = _run("kernel_time", "decode_rate")

    check = report.checks[0]
    assert check.sentence == "not foreseen: ZeroDivisionError: in driver.py"
    assert any('File "rate_check.py", line' in line for line in check.traceback)
    assert "secret place" not in report.model_dump_json()
    assert report.checks[1].status is Status.PASSED
