# SPDX-License-Identifier: AGPL-3.0-or-later
"""The GPU's memory, load, power and temperature, from NVML (nvidia-ml-py): for the dashboard and the selftest."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from vision_line.packages import install_extra
from vision_line.ports import DeviceLoad

if TYPE_CHECKING:
    from vision_line.devices.cuda.context import GpuContext

logger = logging.getLogger(__name__)

_T = TypeVar("_T")


#: A call of NVML that takes longer hangs with its GPU.
_HANGS_AFTER_S = 1.0


class GpuMonitor:
    """Asks NVML about one GPU; implements `ports.LoadReporter`.

    Without the library or a driver it has nothing to say, and says so once. Any thread.
    """

    def __init__(self, pci_bus_id: str, nvml: ModuleType | None = None, *, name: str = "") -> None:
        """Find the GPU by its PCI bus id: NVML counts GPUs otherwise than CUDA does.

        `nvml` is the module pynvml, and `name` what the GPU is called in its loads: "cuda:0".
        """
        self.reason = ""  # why there is nothing to say
        self._name = name
        self._asking = threading.Lock()
        self._handle: object = None
        self._opened = False
        try:
            self._nvml: ModuleType = importlib.import_module("pynvml") if nvml is None else nvml
        except ImportError as exc:
            self._give_up(f"nvidia-ml-py is missing: {install_extra('cuda')} ({exc})")
            return
        self._opened = self._tried(self._nvml.nvmlInit)
        if self._opened:
            self._tried(lambda: self._find(pci_bus_id))

    def sample(self) -> tuple[DeviceLoad, ...]:
        """Return the GPU's state now, if it is known; takes a millisecond or less, for ever where NVML hangs.

        Only the first who asks hangs with it; others get nothing after a second.
        """
        if not self._asking.acquire(timeout=_HANGS_AFTER_S):
            return ()
        try:
            return () if self._handle is None else self._sample()
        finally:
            self._asking.release()

    def close(self) -> None:
        """Let NVML go, unless another thread's question to it hangs; may be called twice."""
        if not self._asking.acquire(timeout=_HANGS_AFTER_S):
            logger.warning("%s: NVML does not answer, and is not shut down", self._name)
            return
        try:
            self._handle = None
            if self._opened:
                self._opened = False
                self._tried(self._nvml.nvmlShutdown)
        finally:
            self._asking.release()

    def _sample(self) -> tuple[DeviceLoad, ...]:
        nvml, handle = self._nvml, self._handle
        try:
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        except nvml.NVMLError as exc:
            self._give_up(str(exc))
            return ()
        power_mw = self._reading(nvml.nvmlDeviceGetPowerUsage)
        energy_mj = self._reading(nvml.nvmlDeviceGetTotalEnergyConsumption)
        load = DeviceLoad(
            name=self._name,
            memory_used_mb=memory.used >> 20,
            memory_total_mb=memory.total >> 20,
            sm_percent=self._reading(lambda gpu: int(nvml.nvmlDeviceGetUtilizationRates(gpu).gpu)),
            decoder_percent=self._reading(lambda gpu: int(nvml.nvmlDeviceGetDecoderUtilization(gpu)[0])),
            power_w=None if power_mw is None else power_mw / 1000,
            energy_j=None if energy_mj is None else energy_mj / 1000,
            temperature_c=self._temperature(),
            throttled=self._throttled(),
        )
        return (load,)

    def _find(self, pci_bus_id: str) -> None:
        self._handle = self._nvml.nvmlDeviceGetHandleByPciBusId(pci_bus_id)

    def _temperature(self) -> int | None:
        nvml, sensor = self._nvml, self._nvml.NVML_TEMPERATURE_GPU
        celsius = self._reading(lambda gpu: int(nvml.nvmlDeviceGetTemperatureV(gpu, sensor)))
        if celsius is None:  # drivers before CUDA 13 know only the older call
            celsius = self._reading(lambda gpu: int(nvml.nvmlDeviceGetTemperature(gpu, sensor)))
        return celsius

    def _throttled(self) -> bool | None:
        nvml = self._nvml
        reasons = self._reading(nvml.nvmlDeviceGetCurrentClocksEventReasons)
        if reasons is None:  # drivers before 535
            reasons = self._reading(nvml.nvmlDeviceGetCurrentClocksThrottleReasons)
        heat = nvml.nvmlClocksThrottleReasonSwThermalSlowdown | nvml.nvmlClocksThrottleReasonHwThermalSlowdown
        return None if reasons is None else bool(reasons & heat)

    def _reading(self, ask: Callable[[object], _T]) -> _T | None:
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
        logger.info("no figures of the GPU's load: %s", reason)


def open_monitor(gpu: GpuContext) -> GpuMonitor:
    """Return what reads the load of `gpu`, under the name that its device has."""
    return GpuMonitor(gpu.pci_bus_id, name=gpu.label)
