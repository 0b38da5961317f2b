# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs all checks: each gives a result, and a failed one does not stop the others."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from vision_line import __version__
from vision_line.cores import usable_cores
from vision_line.devices.cuda.context import GpuContext
from vision_line.devices.proof.proving import UNPROVEN
from vision_line.errors import DeviceError, ModelError, RunError, SourceError
from vision_line.selftest.decoder_check import check_parity, measure_decoding
from vision_line.selftest.detection_check import check_detections
from vision_line.selftest.device_under_test import DeviceUnderTest, Settings, open_device_under_test
from vision_line.selftest.kernel_bits import check_kernel
from vision_line.selftest.order_check import check_order
from vision_line.selftest.rate_check import (
    measure_engine,
    measure_kernel,
    measure_latency,
    measure_memory,
    measure_power,
    measure_throughput,
)
from vision_line.selftest.report import (
    CheckOutcome,
    CheckResult,
    GpuFacts,
    MachineFacts,
    ModelUnderTest,
    Selftest,
    SettingsFacts,
    failed,
    passed,
    result,
)


def check_proof(dut: DeviceUnderTest) -> CheckOutcome:
    """Report which variant of the model runs and what proved it; fails for an engine that could not be proven."""
    used = dut.device.description
    if UNPROVEN in used.variant_reason and used.precision == dut.model.precision:
        return failed(f"{used.variant}: {used.variant_reason}")
    return passed(f"{used.variant}: {used.variant_reason or 'executed in float, as its file is written'}")


@dataclass(frozen=True, slots=True)
class Check:
    """One check; its name is stored."""

    name: str
    title: str  # for people
    run: Callable[[DeviceUnderTest], CheckOutcome]
    needs_model: bool = True  # another model may give another result


#: In the order in which they run; memory is measured after everything was in use.
CHECKS = (
    Check("proof", "proof of the engine", check_proof),
    Check("kernel_bits", "kernel, bit for bit", check_kernel),
    Check("decode_parity", "decoded frames", check_parity, needs_model=False),
    Check("detections", "detections", check_detections),
    Check("ordering", "order under load", check_order),
    Check("kernel_time", "kernel, time", measure_kernel),
    Check("engine_time", "engine, time", measure_engine),
    Check("decode_rate", "decoding, rate", measure_decoding, needs_model=False),
    Check("throughput", "throughput", measure_throughput),
    Check("latency", "latency", measure_latency),
    Check("memory", "memory", measure_memory),
    Check("power", "power", measure_power),
)

#: Those of them that another model may change.
MODEL_CHECKS = tuple(check for check in CHECKS if check.needs_model)

#: What inspects, by the names of its packages.
_LIBRARIES = (
    "av",
    "cuda-bindings",
    "cuda-core",
    "numpy",
    "nvidia-ml-py",
    "opencv-python-headless",
    "openvino",
    "pynvvideocodec",
    "tensorrt",
    "tensorrt-rtx",
)


def run_selftest(
    device: str,
    model: Path | None,
    settings: Settings,
    on_status: Callable[[str], None] | None = None,
    checks: Sequence[Check] = CHECKS,
) -> Selftest:
    """Test the device called `device` with the bundle or ONNX file `model`, None: the shipped bundle.

    `on_status` is called with the title of each check. Takes half a minute to minutes; a GPU's first engine takes
    minutes more.

    Raises:
        DeviceError: the device cannot be opened.
        ModelError: the model cannot be used.
        RunError: the GPU fails while the device is closed.
    """
    on_status = on_status or _ignore
    on_status("opening the device")
    with open_device_under_test(device, model, settings) as dut:
        return _report(dut, [run_check(check, dut, on_status) for check in checks])


def run_check(check: Check, dut: DeviceUnderTest, on_status: Callable[[str], None]) -> CheckResult:
    """Run one check; an expected error makes it fail."""
    on_status(check.title)
    try:
        outcome = check.run(dut)
    except (DeviceError, RunError, ModelError, SourceError) as exc:
        outcome = failed(str(exc))
    return result(check.name, outcome)


def _report(dut: DeviceUnderTest, checks: list[CheckResult]) -> Selftest:
    description, model, settings = dut.device.description, dut.model, dut.settings
    return Selftest(
        vision_line=__version__,
        day_utc=datetime.now(UTC).date().isoformat(),
        device=description.name,
        detail=description.detail,
        machine=_machine(dut.gpu),
        model=ModelUnderTest(
            name=None if model.bundle is None else model.name,
            sha256=model.sha256,
            precision=description.precision,
            input_hw=dut.shape_hw,
            classes=len(model.classes),
        ),
        settings=SettingsFacts(
            seconds=settings.seconds,
            repeats=settings.repeats,
            picture_wh=dut.size_wh,
            cameras=settings.cameras,
            fps=settings.fps,
        ),
        checks=checks,
    )


def _machine(gpu: GpuContext | None) -> MachineFacts:
    return MachineFacts(
        system=f"{platform.system()} {platform.machine()}",
        python=".".join(map(str, sys.version_info[:3])),
        cores=usable_cores(),
        libraries={name: found for name in _LIBRARIES if (found := _version(name))},
        gpu=None
        if gpu is None
        else GpuFacts(
            name=gpu.name,
            compute_capability=f"{gpu.sm // 10}.{gpu.sm % 10}",
            cuda_version=gpu.driver,
            memory_mb=gpu.memory_bytes >> 20,
        ),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _ignore(_sentence: str) -> None:
    """Default for `on_status`."""
