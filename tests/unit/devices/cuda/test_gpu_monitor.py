# SPDX-License-Identifier: AGPL-3.0-or-later
"""The GPU's load through NVML: whole, with figures missing, and without library or driver."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from vision_line.devices.cuda.monitor import GpuLoad, GpuMonitor

BUS = "0000:01:00.0"


class NVMLError(Exception):
    """What NVML answers instead of a figure."""


class FakeNvml:
    """The functions of pynvml that are used, for one GPU; those named in `unsupported` fail."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, *unsupported: str) -> None:
        self.unsupported = set(unsupported)
        self.opened = 0

    def nvmlInit(self) -> None:  # noqa: N802  the real name
        """Count."""
        self._check("nvmlInit")
        self.opened += 1

    def nvmlShutdown(self) -> None:  # noqa: N802  the real name
        """Count."""
        self.opened -= 1

    def nvmlDeviceGetHandleByPciBusId(self, bus: str) -> str:  # noqa: N802  the real name
        """Answer a handle."""
        if bus != BUS:
            raise NVMLError("Not Found")
        return "handle"

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:  # noqa: N802  the real name
        """Answer bytes."""
        self._check("nvmlDeviceGetMemoryInfo", handle)
        return SimpleNamespace(used=1100 << 20, total=12 << 30)

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:  # noqa: N802  the real name
        """Answer percent."""
        self._check("nvmlDeviceGetUtilizationRates", handle)
        return SimpleNamespace(gpu=32, memory=5)

    def nvmlDeviceGetDecoderUtilization(self, handle: str) -> list[int]:  # noqa: N802  the real name
        """Answer percent and the sampling period in microseconds."""
        self._check("nvmlDeviceGetDecoderUtilization", handle)
        return [53, 167000]

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:  # noqa: N802  the real name
        """Answer milliwatts."""
        self._check("nvmlDeviceGetPowerUsage", handle)
        return 35250

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802  the real name
        """Answer millijoules."""
        self._check("nvmlDeviceGetTotalEnergyConsumption", handle)
        return 7_000_500

    def nvmlDeviceGetTemperatureV(self, handle: str, sensor: int) -> int:  # noqa: N802  the real name
        """Answer degrees."""
        self._check("nvmlDeviceGetTemperatureV", handle)
        return 61

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:  # noqa: N802  the real name
        """Answer degrees, in the way of older drivers."""
        self._check("nvmlDeviceGetTemperature", handle)
        return 60

    def _check(self, name: str, handle: str = "handle") -> None:
        assert handle == "handle"
        if name in self.unsupported:
            raise NVMLError("Not Supported")


def test_every_figure_has_its_unit() -> None:
    """Bytes become megabytes, milliwatts watts, millijoules joules."""
    nvml = FakeNvml()
    monitor = GpuMonitor(BUS, nvml)

    assert monitor.sample() == GpuLoad(
        memory_used_mb=1100,
        memory_total_mb=12288,
        sm_percent=32,
        decoder_percent=53,
        power_w=35.25,
        energy_j=7000.5,
        temperature_c=61,
    )
    monitor.close()
    monitor.close()
    assert nvml.opened == 0
    assert monitor.sample() is None


@pytest.mark.parametrize(
    ("unsupported", "field"),
    [
        ("nvmlDeviceGetUtilizationRates", "sm_percent"),
        ("nvmlDeviceGetDecoderUtilization", "decoder_percent"),
        ("nvmlDeviceGetPowerUsage", "power_w"),
        ("nvmlDeviceGetTotalEnergyConsumption", "energy_j"),
    ],
)
def test_missing_figure_is_none_and_the_others_stay(unsupported: str, field: str) -> None:
    """A GPU that does not tell one thing still tells the rest."""
    load = GpuMonitor(BUS, FakeNvml(unsupported)).sample()

    assert load is not None
    assert getattr(load, field) is None
    assert load.memory_used_mb == 1100


def test_older_drivers_tell_the_temperature_their_way() -> None:
    """Where the newer call is not known the older one is asked; where both are not, there is no figure."""
    older = GpuMonitor(BUS, FakeNvml("nvmlDeviceGetTemperatureV")).sample()
    none = GpuMonitor(BUS, FakeNvml("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature")).sample()

    assert older is not None
    assert older.temperature_c == 60
    assert none is not None
    assert none.temperature_c is None


@pytest.mark.parametrize(
    ("bus", "unsupported", "reason"),
    [(BUS, "nvmlInit", "Not Supported"), ("0000:09:00.0", "", "Not Found")],
)
def test_without_driver_or_gpu_the_reason_is_told_once(
    bus: str, unsupported: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """There are no figures, one line says why, and closing is as ever."""
    with caplog.at_level("INFO"):
        monitor = GpuMonitor(bus, FakeNvml(unsupported))
        assert [monitor.sample() for _ in range(3)] == [None] * 3
        monitor.close()

    assert monitor.reason == reason
    assert len(caplog.records) == 1


def test_gpu_that_vanishes_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """A GPU that stops answering ends the figures, not the program."""
    nvml = FakeNvml()
    monitor = GpuMonitor(BUS, nvml)
    assert monitor.sample() is not None
    nvml.unsupported.add("nvmlDeviceGetMemoryInfo")
    with caplog.at_level("INFO"):
        assert [monitor.sample(), monitor.sample()] == [None, None]
    assert len(caplog.records) == 1


def test_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without nvidia-ml-py the reason names the command."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monitor = GpuMonitor(BUS)

    assert monitor.sample() is None
    assert "pip install 'vision-line[cuda]'" in monitor.reason
    monitor.close()


def test_fake_has_only_names_of_the_real_library() -> None:
    """Whatever is used exists in nvidia-ml-py, whose errors are of one class; without a driver it fails by that."""
    pynvml = pytest.importorskip("pynvml", reason="pip install nvidia-ml-py")
    names = [name for name in vars(FakeNvml) if not name.startswith("_")]

    assert [name for name in names if not hasattr(pynvml, name)] == []
    assert GpuMonitor("0000:ff:1f.7").sample() is None
