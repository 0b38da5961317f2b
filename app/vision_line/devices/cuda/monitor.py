# SPDX-License-Identifier: AGPL-3.0-or-later
"""The GPU's memory, load, power and temperature, from NVML (nvidia-ml-py): for the dashboard and the selftest."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

LOG = logging.getLogger(__name__)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class GpuLoad:
    """A GPU's state at one moment; None is what this GPU or its driver does not tell.

    Utilisation is the share of the driver's last sampling period, about a second or less, in which anything ran: 100 %
    does not mean that no more would fit. Memory is that of all processes.
    """

    memory_used_mb: int
    memory_total_mb: int
    sm_percent: int | None
    decoder_percent: int | None
    power_w: float | None
    energy_j: float | None  # used since the driver was loaded
    temperature_c: int | None


class GpuMonitor:
    """Asks NVML about one GPU; without the library or a driver it has nothing to say, and says so once. One thread."""

    def __init__(self, pci_bus_id: str, nvml: Any = None) -> None:
        """Find the GPU by its PCI bus id: NVML counts GPUs otherwise than CUDA does. `nvml` is the module pynvml."""
        self.reason = ""  # why there is nothing to say
        self._nvml = nvml
        self._handle: Any = None
        self._opened = False
        try:
            self._nvml = importlib.import_module("pynvml") if nvml is None else nvml
        except ImportError as exc:
            self._give_up(f"nvidia-ml-py is missing: pip install 'vision-line[cuda]' ({exc})")
            return
        self._opened = self._tried(self._nvml.nvmlInit)
        if self._opened:
            self._tried(lambda: self._find(pci_bus_id))

    def sample(self) -> GpuLoad | None:
        """Return the GPU's state now, or None; takes a millisecond or less."""
        if self._handle is None:
            return None
        nvml, handle = self._nvml, self._handle
        try:
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        except nvml.NVMLError as exc:
            self._give_up(str(exc))
            return None
        power_mw = self._told(nvml.nvmlDeviceGetPowerUsage)
        energy_mj = self._told(nvml.nvmlDeviceGetTotalEnergyConsumption)
        return GpuLoad(
            memory_used_mb=memory.used >> 20,
            memory_total_mb=memory.total >> 20,
            sm_percent=self._told(lambda gpu: int(nvml.nvmlDeviceGetUtilizationRates(gpu).gpu)),
            decoder_percent=self._told(lambda gpu: int(nvml.nvmlDeviceGetDecoderUtilization(gpu)[0])),
            power_w=None if power_mw is None else power_mw / 1000,
            energy_j=None if energy_mj is None else energy_mj / 1000,
            temperature_c=self._temperature(),
        )

    def close(self) -> None:
        """Let NVML go; may be called twice."""
        self._handle = None
        if self._opened:
            self._opened = False
            self._tried(self._nvml.nvmlShutdown)

    def _find(self, pci_bus_id: str) -> None:
        self._handle = self._nvml.nvmlDeviceGetHandleByPciBusId(pci_bus_id)

    def _temperature(self) -> int | None:
        nvml, sensor = self._nvml, self._nvml.NVML_TEMPERATURE_GPU
        celsius = self._told(lambda gpu: int(nvml.nvmlDeviceGetTemperatureV(gpu, sensor)))
        if celsius is None:  # drivers before CUDA 13 know only the older call
            celsius = self._told(lambda gpu: int(nvml.nvmlDeviceGetTemperature(gpu, sensor)))
        return celsius

    def _told(self, ask: Callable[[Any], _T]) -> _T | None:
        """Return what NVML answers, None where it does not know: each figure is missing on some GPU or driver."""
        try:
            return ask(self._handle)
        except self._nvml.NVMLError:
            return None

    def _tried(self, call: Callable[[], object]) -> bool:
        try:
            call()
        except self._nvml.NVMLError as exc:
            self._give_up(str(exc))
            return False
        return True

    def _give_up(self, reason: str) -> None:
        self._handle = None
        self.reason = reason
        LOG.info("no figures of the GPU's load: %s", reason)
