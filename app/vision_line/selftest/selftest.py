# SPDX-License-Identifier: AGPL-3.0-or-later
"""The checks, and one run of them: each gives a result, and a failed one does not stop the others."""

from __future__ import annotations

import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from vision_line import __version__
from vision_line.cores import usable_cores
from vision_line.devices.cuda.context import GpuContext
from vision_line.devices.model.model import Model
from vision_line.devices.preprocessing.shapes import plan_input_shapes
from vision_line.devices.proof.proving import UNPROVEN
from vision_line.errors import VisionLineError
from vision_line.selftest.decoder_check import check_parity, measure_decoding
from vision_line.selftest.detection_check import check_detections
from vision_line.selftest.device_under_test import SMALL_SIZE_WH, DeviceUnderTest, Settings
from vision_line.selftest.kernel_bits import check_kernel
from vision_line.selftest.news import Begun, News
from vision_line.selftest.order_check import check_order
from vision_line.selftest.rate_check import (
    check_layers,
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
    figure,
    passed,
    result,
    skipped,
)

#: A check that takes so long hangs; one that measures takes a multiple of the time that was asked for.
LIMIT_S, LOADS = 300.0, 20
#: Engines of all batch sizes are built and proven meanwhile, on the slowest GPU.
OPENING_LIMIT_S = 3600.0

NOT_OPEN = "it needs the engine, and the device could not be opened"


def check_opening(dut: DeviceUnderTest) -> CheckOutcome:
    """Open the device: its engine is built where there is none, and proven."""
    began_s = time.monotonic()
    dut.open()
    took_s = time.monotonic() - began_s
    return passed(f"open after {took_s:.1f} s", [figure("opening_s", "", took_s, "s")])


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
    needs_device: bool = True  # with its engine

    def limit_s(self, dut: DeviceUnderTest) -> float:
        """Return after how many seconds it hangs."""
        opens = self is OPENING or (self.needs_device and dut.opened is None)
        return LIMIT_S + LOADS * dut.settings.seconds + OPENING_LIMIT_S * opens


OPENING = Check("opening", "opening", check_opening, needs_device=False)

#: In the order in which they run: first what needs no engine; memory is measured after everything was in use.
CHECKS = (
    Check("kernel_bits", "kernel, bit for bit", check_kernel, needs_device=False),
    Check("decode_parity", "decoded frames", check_parity, needs_model=False, needs_device=False),
    Check("kernel_time", "kernel, time", measure_kernel, needs_device=False),
    Check("decode_rate", "decoding, rate", measure_decoding, needs_model=False, needs_device=False),
    OPENING,
    Check("proof", "proof of the engine", check_proof),
    Check("detections", "detections", check_detections),
    Check("ordering", "order under load", check_order),
    Check("engine_layers", "engine, layers", check_layers),
    Check("engine_time", "engine, time", measure_engine),
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


def run_checks(dut: DeviceUnderTest, checks: Sequence[Check], *, opens: bool = True) -> Iterator[News]:
    """Run `checks` on a device that may be closed yet; say what it is, which check begins, and what each found.

    It is opened for the first check that needs it. Where that fails, and without `opens`, the others that need it are
    skipped.
    """
    yield News(head=head_of(dut.model, dut.settings, dut.name, dut))
    for check in checks:
        was_closed = dut.opened is None
        yield News(begun=Begun(check=check.name, limit_s=check.limit_s(dut)))
        yield News(result=run_check(check, dut) if opens or not check.needs_device else not_run(check))
        if was_closed and (check.needs_device or check is OPENING):
            opens = dut.opened is not None
            yield News(head=head_of(dut.model, dut.settings, dut.name, dut))


def run_check(check: Check, dut: DeviceUnderTest) -> CheckResult:
    """Run one check, whatever is raised in it: then it has failed, and where that was stays with it."""
    try:
        if check.needs_device and dut.opened is None:
            dut.open()
        return result(check.name, check.run(dut))
    except VisionLineError as exc:
        return result(check.name, failed(str(exc)))
    except Exception as exc:  # noqa: BLE001  of a library that nobody has seen on such a machine; the other checks go on
        words = f"not foreseen: {type(exc).__name__}: {exc}"
        return result(check.name, failed(words), traceback.format_exception(exc))


def not_run(check: Check) -> CheckResult:
    """Return the result of a check that needs a device which cannot be opened."""
    return result(check.name, skipped(NOT_OPEN))


def head_of(model: Model, settings: Settings, device: str, dut: DeviceUnderTest | None = None) -> Selftest:
    """Return a report without checks, with what is known of the device."""
    opened = None if dut is None or dut.opened is None else dut.opened.description
    gpu = None if dut is None else dut.gpu
    size_wh = settings.size_wh or SMALL_SIZE_WH if dut is None else dut.size_wh
    return Selftest(
        vision_line=__version__,
        day_utc=datetime.now(UTC).date().isoformat(),
        device=device if opened is None else opened.name,
        detail=opened.detail if opened is not None else "" if gpu is None else gpu.name,
        machine=_machine(gpu),
        model=ModelUnderTest(
            name=None if model.bundle is None else model.name,
            sha256=model.sha256,
            precision=model.precision if opened is None else opened.precision,
            input_hw=plan_input_shapes(model, [size_wh])[0] if dut is None else dut.shape_hw,
            classes=len(model.classes),
        ),
        settings=SettingsFacts(
            seconds=settings.seconds,
            repeats=settings.repeats,
            picture_wh=size_wh,
            cameras=settings.cameras,
            fps=settings.fps,
        ),
        checks=[],
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
