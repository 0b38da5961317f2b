# SPDX-License-Identifier: AGPL-3.0-or-later
"""The GPU as this process uses it: checked once, then made current in each thread that calls the driver."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from vision_line.errors import DeviceError, VisionLineError
from vision_line.packages import fit_cuda, install_extra

if TYPE_CHECKING:
    from cuda.core import Device, Stream

#: Oldest compute capability, without its dot: Turing, the oldest that TensorRT and NVRTC still build for.
OLDEST_SM = 75

#: Queues between this process and a GPU, as many as there can be. Streams that share one wait for each other: with the
#: usual 8, the copies of 16 cameras would wait behind inference.
HARDWARE_QUEUES = "32"

_BUS_ID_BYTES = 16  # the driver asks for 13 or more


@dataclass(frozen=True, slots=True)
class GpuContext:
    """One GPU whose primary context this process holds.

    All libraries share that context: ours, the decoders, FFmpeg's and TensorRT's.
    """

    index: int
    name: str
    sm: int  # compute capability without its dot, 86 for 8.6
    driver: str  # CUDA version that the driver supports, "13.0"
    memory_bytes: int
    pci_bus_id: str  # "0000:01:00.0", by which NVML knows it

    @property
    def label(self) -> str:
        """Return what people and options call it."""
        return f"cuda:{self.index}"

    @property
    def device(self) -> Device:
        """Return the calling thread's own `cuda.core.Device`; the thread has called `enter`."""
        from cuda.core import Device

        return Device(self.index)

    def enter(self) -> Device:
        """Make the GPU current in the calling thread, and return its device; cheap, so it may be called often."""
        device = self.device
        device.set_current()
        return device

    def open_stream(self, *, urgent: bool = True) -> Stream:
        """Return a new stream; it does not wait for the default stream, nor that for it. The GPU is current.

        Of kernels that wait, those of `urgent` streams go first: what is decoded and inspected, before what can wait.
        """
        from cuda.core import StreamOptions

        least, greatest = _ask(_driver().cuCtxGetStreamPriorityRange(), f"{self.label}: its streams cannot be ordered")
        return self.device.create_stream(
            options=StreamOptions(nonblocking=True, priority=greatest if urgent else least)
        )

    def free_bytes(self) -> int:
        """Return how much memory is free, of all processes; the GPU is current.

        Raises:
            DeviceError: the driver does not say.
        """
        free_bytes, _ = _ask(_driver().cuMemGetInfo(), f"{self.label}: its memory cannot be counted")
        return int(free_bytes)


def count_gpus() -> int:
    """Return how many GPUs the driver shows.

    Raises:
        DeviceError: no Python packages, or no driver.
    """
    return int(_ask(_open_driver().cuDeviceGetCount(), "the GPUs cannot be counted"))


def open_gpu(index: int = 0) -> GpuContext:
    """Return GPU `index` of those that the driver shows, current in the calling thread.

    Waiting for the GPU blocks instead of spinning. That is a property of the primary context which FFmpeg insists on
    too, so it is set before anything else uses the context.

    Raises:
        DeviceError: no Python packages, no driver or one that is too old, no such GPU, or a GPU that is too old.
    """
    driver = _open_driver()
    version = _checked_version(driver)
    count = _ask(driver.cuDeviceGetCount(), "the GPUs cannot be counted")
    if not 0 <= index < count:
        raise DeviceError(f"cuda: expected a GPU number from 0 to {count - 1}, found {index}")
    handle = _ask(driver.cuDeviceGet(index), f"GPU {index} cannot be used")
    flags = driver.CUctx_flags.CU_CTX_SCHED_BLOCKING_SYNC
    _ask(driver.cuDevicePrimaryCtxSetFlags(handle, flags), f"GPU {index}: its context cannot be set up")
    memory_bytes = _ask(driver.cuDeviceTotalMem(handle), f"GPU {index}: its memory cannot be counted")
    bus = _ask(driver.cuDeviceGetPCIBusId(_BUS_ID_BYTES, handle), f"GPU {index}: its place cannot be found")
    return _described(index, version, int(memory_bytes), bus.partition(b"\0")[0].decode())


def _described(index: int, version: int, memory_bytes: int, pci_bus_id: str) -> GpuContext:
    from cuda.core import Device

    with translated_errors(DeviceError, f"GPU {index} cannot be used"):
        device = Device(index)
        capability = device.compute_capability
        sm = capability.major * 10 + capability.minor
        if sm < OLDEST_SM:
            raise DeviceError(
                f"cuda: {device.name}: expected compute capability {OLDEST_SM / 10} or later, "
                f"found {capability.major}.{capability.minor}"
            )
        device.set_current()
        return GpuContext(index, device.name, sm, _dotted(version), memory_bytes, pci_bus_id)


@contextmanager
def translated_errors(error: type[VisionLineError], what: str) -> Iterator[None]:
    """Raise `error` with `what` and the driver's reason where the driver refuses a call within.

    Errors of kernels surface at whatever call comes next, so `what` says what was tried, not what is broken.
    """
    from cuda.core._utils.cuda_utils import CUDAError  # the library has no public name for what it raises

    try:
        yield
    except (CUDAError, RuntimeError) as exc:  # the latter from calls whose result the library does not look at
        raise error(f"cuda: {what}: {_first_sentence(exc)}") from exc


def _open_driver() -> ModuleType:
    """Return the driver's bindings, initialized.

    Its library is looked for first, by the loader of the bindings: they take 30 MiB, which a machine without a GPU has
    no use for.
    """
    try:
        from cuda.pathfinder import DynamicLibNotFoundError, load_nvidia_dynamic_lib
    except ImportError as exc:
        raise _without_packages(exc) from exc
    try:
        load_nvidia_dynamic_lib("cuda")
    except DynamicLibNotFoundError as exc:
        raise DeviceError("cuda: no NVIDIA driver is installed: libcuda.so.1 was not found") from exc
    try:
        import cuda.core  # noqa: F401  both are needed, and one is missing as often as the other
        from cuda.bindings import driver
    except ImportError as exc:
        raise _without_packages(exc) from exc
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", HARDWARE_QUEUES)  # read by the driver when it starts
    (code,) = driver.cuInit(0)
    if code == driver.CUresult.CUDA_ERROR_NO_DEVICE:
        raise DeviceError("cuda: the driver shows no GPU; in a container it has to be passed through")
    _ask((code,), "the driver does not start")
    bindings: ModuleType = driver
    return bindings


def _driver() -> ModuleType:
    """Return the bindings of the driver, which is open."""
    from cuda.bindings import driver

    bindings: ModuleType = driver
    return bindings


def _without_packages(fault: ImportError) -> DeviceError:
    return DeviceError(f"cuda: the package cuda-core is missing or broken ({fault}): {install_extra('cuda')}")


def _checked_version(driver: ModuleType) -> int:
    """Return the CUDA version of the driver, as 1000 * major + 10 * minor."""
    import cuda.bindings

    version: int = _ask(driver.cuDriverGetVersion(), "the driver does not say its version")
    needed = int(cuda.bindings.__version__.partition(".")[0])
    if version < needed * 1000:
        raise DeviceError(
            f"cuda: the driver supports CUDA {_dotted(version)}, but cuda-bindings {cuda.bindings.__version__} needs "
            f"{needed}.0: {fit_cuda(version)}"
        )
    return version


def _ask(answer: tuple[Any, ...], what: str) -> Any:
    """Return what a call of the driver's bindings gives beside its result code."""
    code, *values = answer
    if code != 0:
        raise DeviceError(f"cuda: {what}: {code.name}")
    if len(values) > 1:
        return tuple(values)
    return values[0] if values else None


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def _first_sentence(exc: Exception) -> str:
    return str(exc).strip().partition("\n")[0].partition(". ")[0]
