# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the doctor says of NVIDIA GPUs: of none, of one that lacks something, and of one that has everything."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from typing import Any, cast

import pytest

from vision_line.doctor.finding import Level
from vision_line.doctor.nvidia import (
    PACKAGES,
    GpuFound,
    NvidiaFacts,
    ask_driver,
    check_nvidia,
    installed_packages,
    read_nvidia_facts,
)
from vision_line.packages import install_extra

WHOLE = NvidiaFacts(
    nodes=("/dev/nvidia0",),
    driver="580.95.05",
    cuda=13000,
    gpus=(GpuFound("NVIDIA RTX 3060", 86),),
    packages={package.label: f"{package.distributions[0]} 13.0.1" for package in PACKAGES},
    engines=1,
)


def _said(facts: NvidiaFacts) -> dict[str, str]:
    """Return everything that is not OK: what was found -> meaning and remedy."""
    findings = [finding for finding in check_nvidia(facts) if finding.level is not Level.OK]
    return {finding.what: f"{finding.meaning} | {finding.remedy}" for finding in findings}


def test_everything_there_is_all_right() -> None:
    """A whole installation gives driver, GPU, engines and packages, and nothing to do."""
    findings = list(check_nvidia(WHOLE))

    assert {finding.level for finding in findings} == {Level.OK}
    assert not any(finding.remedy for finding in findings)
    shown = [finding.what for finding in findings]
    assert shown[:3] == [
        "driver 580.95.05 for CUDA 13.0",
        "NVIDIA RTX 3060, compute capability 8.6",
        "1 NVDEC engine",
    ]
    assert len(shown) == 3 + len(PACKAGES)


def test_no_gpu_is_no_fault() -> None:
    """A machine without one has one finding, and it is all right."""
    (finding,) = check_nvidia(NvidiaFacts())

    assert (finding.level, finding.what) == (Level.OK, "no NVIDIA GPU")


@pytest.mark.parametrize(
    ("facts", "what", "words"),
    [
        (NvidiaFacts(nodes=("/dev/nvidia0",)), "/dev/nvidia0, and no libcuda.so.1", "container toolkit"),
        (NvidiaFacts(driver="580.1"), "a driver, and no libcuda.so.1", "container toolkit"),
        (
            NvidiaFacts(cuda=13000, problem="the driver reports no GPU"),
            "a driver for CUDA 13.0: the driver reports no GPU",
            "--gpus all",
        ),
        (
            replace(WHOLE, gpus=(GpuFound("Tesla P4", 61),)),
            "Tesla P4, compute capability 6.1",
            "older than 7.5 (Turing)",
        ),
        (
            replace(WHOLE, missing_video=("libnvcuvid.so.1", "libnvidia-encode.so.1")),
            "no libnvcuvid.so.1, libnvidia-encode.so.1",
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video",
        ),
        (replace(WHOLE, cuda=12080), "cuda-bindings 13.0.1", "pip install '.[cuda12]'"),
    ],
)
def test_each_lack_has_its_meaning_and_remedy(facts: NvidiaFacts, what: str, words: str) -> None:
    """One thing is missing, one finding says so, and it says what to do."""
    said = _said(facts)

    assert list(said) == [what]
    assert words in said[what]


@pytest.mark.parametrize("package", PACKAGES)
def test_each_missing_package_is_reported(package: Any) -> None:
    """A package that is not installed costs what it costs, and one command brings it."""
    packages = {label: version for label, version in WHOLE.packages.items() if label != package.label}

    assert _said(replace(WHOLE, packages=packages)) == {
        f"no {package.label}": f"{package.without} | {install_extra('cuda')}"
    }


def test_unknown_engines_are_not_a_fault() -> None:
    """Where PyNvVideoCodec does not say how many engines there are, its reason is shown."""
    findings = list(check_nvidia(replace(WHOLE, engines=None, engines_problem="not installed")))

    assert (findings[2].level, findings[2].meaning) == (Level.OK, "not installed")


class FakeLibcuda:
    """The few functions of the driver that the doctor asks, for `gpus` (name, compute capability)."""

    def __init__(self, *gpus: tuple[str, int], init: int = 0) -> None:
        self._gpus = gpus
        self._init = init

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802  the real name
        """Answer CUDA 13.0."""
        version._obj.value = 13000
        return 0

    def cuInit(self, flags: int) -> int:  # noqa: N802  the real name
        """Answer as told."""
        return self._init

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802  the real name
        """Answer the number of GPUs."""
        count._obj.value = len(self._gpus)
        return 0

    def cuDeviceGet(self, device: Any, index: int) -> int:  # noqa: N802  the real name
        """Answer a handle."""
        device._obj.value = 100 + index
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:  # noqa: N802  the real name
        """Answer a GPU's name."""
        ctypes.memmove(name, self._gpus[device.value - 100][0].encode() + b"\0", len(self._gpus[0][0]) + 1)
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:  # noqa: N802  the real name
        """Answer the compute capability."""
        major, minor = divmod(self._gpus[device.value - 100][1], 10)
        value._obj.value = {75: major, 76: minor}[attribute]
        return 0


def _libcuda(*gpus: tuple[str, int], init: int = 0) -> ctypes.CDLL:
    return cast("ctypes.CDLL", FakeLibcuda(*gpus, init=init))


def test_driver_is_asked_directly() -> None:
    """Version and GPUs come from the driver's library, with none of the Python packages."""
    assert ask_driver(_libcuda(("Tiny 1", 89))) == (13000, (GpuFound("Tiny 1", 89),), "")
    assert ask_driver(_libcuda()) == (13000, (), "the driver reports no GPU")
    assert ask_driver(_libcuda(init=100)) == (
        13000,
        (),
        "the driver answers with CUDA error 100",
    )


def test_looking_never_fails() -> None:
    """On any machine, this one too, there are facts and findings."""
    facts = read_nvidia_facts()

    assert list(check_nvidia(facts))
    assert set(installed_packages()) <= {package.label for package in PACKAGES}
