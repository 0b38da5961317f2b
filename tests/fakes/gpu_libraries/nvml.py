# SPDX-License-Identifier: AGPL-3.0-or-later
"""An NVML for machines without a GPU, whose figures tests choose."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

#: The fake driver's first GPU.
BUS = "0000:01:00.0"


class NVMLError(Exception):
    """What NVML answers instead of a figure."""


class FakeNvml(ModuleType):
    """The functions of pynvml that are used, for GPUs by their bus ids; those named in `unsupported` fail."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0
    nvmlClocksThrottleReasonSwThermalSlowdown = 0x20  # noqa: N815  the real name
    nvmlClocksThrottleReasonHwThermalSlowdown = 0x40  # noqa: N815  the real name

    def __init__(self, *unsupported: str, buses: Sequence[str] = (BUS,)) -> None:
        super().__init__("pynvml")
        self.unsupported = set(unsupported)
        self.opened = 0
        self.reasons = 0x04  # a power cap is no heat
        self.sm_percent = dict.fromkeys(buses, 32)

    def nvmlInit(self) -> None:  # noqa: N802  the real name
        """Count."""
        self._check("nvmlInit")
        self.opened += 1

    def nvmlShutdown(self) -> None:  # noqa: N802  the real name
        """Count."""
        self.opened -= 1

    def nvmlDeviceGetHandleByPciBusId(self, bus: str) -> str:  # noqa: N802  the real name
        """Answer a handle."""
        if bus not in self.sm_percent:
            raise NVMLError("Not Found")
        return f"handle of {bus}"

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:  # noqa: N802  the real name
        """Answer bytes."""
        self._check("nvmlDeviceGetMemoryInfo", handle)
        return SimpleNamespace(used=1100 << 20, total=12 << 30)

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:  # noqa: N802  the real name
        """Answer percent."""
        self._check("nvmlDeviceGetUtilizationRates", handle)
        return SimpleNamespace(gpu=self.sm_percent[handle.removeprefix("handle of ")], memory=5)

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

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: str) -> int:  # noqa: N802  the real name
        """Answer why clocks are low."""
        self._check("nvmlDeviceGetCurrentClocksEventReasons", handle)
        return self.reasons

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:  # noqa: N802  the real name
        """Answer why clocks are low, in the way of older drivers."""
        self._check("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
        return self.reasons | 0x40

    def _check(self, name: str, handle: str = "handle of ") -> None:
        assert handle.startswith("handle of ")
        if name in self.unsupported:
            raise NVMLError("Not Supported")
