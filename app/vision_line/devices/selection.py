# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which device runs: a table of import strings, so that a device's libraries are loaded only when it is chosen.

Names are `cpu`, `cuda` (the first GPU), `cuda:1` (another), `cuda:0,2` (several), `cuda:all`, and `auto`: all GPUs that
can be used here, else the CPU.
"""

from __future__ import annotations

import importlib
import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from vision_line.devices.model.model import Model
from vision_line.errors import DeviceError
from vision_line.frames import Scores
from vision_line.ports import LoadedDevice, OpenDecoder, ShapeHW

logger = logging.getLogger(__name__)

#: Kind of device -> "module:function"; each is called as `open_device` calls it.
DEVICES = {"cpu": "vision_line.devices.cpu.backend:open_cpu", "cuda": "vision_line.devices.cuda.backend:open_cuda"}

_CPU_DECODER = "vision_line.devices.cpu.decoder:CpuDecoder"
_GPU_DECODERS = "vision_line.devices.cuda.decoders.choice:decoders_on"
_SEVERAL_GPUS = "vision_line.devices.cuda.multi_gpu:open_gpus"
_SEVERAL_DECODERS = "vision_line.devices.cuda.multi_gpu:decoders_over"
_USABLE_GPUS = "vision_line.devices.cuda.multi_gpu:usable_gpus"
_GPU_CHECK = "vision_line.devices.cuda.engine_cache:check_gpu"

_NAME = re.compile(r"cpu|cuda(:(?P<gpus>all|\d+(,\d+)*))?")

_NVIDIA_VENDOR = "0x10de"
_DISPLAY_CLASS = "0x03"  # VGA and 3D controllers; the cards' sound and USB parts have other classes


def choose_device(name: str, warn: Callable[[str], None] = logger.warning) -> str:
    """Return the device that `name` stands for, once it is seen to be there; `auto` and `all` become numbers.

    `warn` is called where `auto` means the CPU on a machine that has an NVIDIA GPU. One without is as it should be.

    Raises:
        DeviceError: there is no such device, or it cannot be used here.
    """
    if name == "auto":
        try:
            return _numbered(_load(_USABLE_GPUS)())
        except DeviceError as exc:
            if gpus := nvidia_gpus():
                warn(_idle_gpu(gpus, exc))
            return "cpu"
    if name == "cuda:all":
        return _numbered(_load(_USABLE_GPUS)())
    for index in chosen_gpus(name):
        _load(_GPU_CHECK)(index)
    return name


def chosen_gpus(name: str) -> tuple[int, ...]:
    """Return the numbers of the GPUs that a chosen device consists of, in its order; none for the CPU.

    Raises:
        DeviceError: there is no such device, or a GPU is named twice.
    """
    found = _NAME.fullmatch(name)
    if found is None or found["gpus"] == "all":
        expected = "auto, cpu, cuda, cuda:NUMBER, cuda:NUMBER,NUMBER, cuda:all"
        raise DeviceError(f"device: expected one of {expected}, found {name!r}")
    if name == "cpu":
        return ()
    indices = tuple(int(number) for number in (found["gpus"] or "0").split(","))
    if len(set(indices)) != len(indices):
        raise DeviceError(f"device: expected each GPU once, found {name!r}")
    return indices


def decoder_opener(name: str) -> OpenDecoder:
    """Return what opens decoders whose frames the chosen device `name` can read, before that is opened itself.

    Cameras start first: the device's input shapes follow from the frames that they send.

    Raises:
        DeviceError: there is no such device, or a library is missing.
    """
    gpus = chosen_gpus(name)
    opener: OpenDecoder
    if not gpus:
        opener = _load(_CPU_DECODER)
    elif len(gpus) == 1:
        opener = _load(_GPU_DECODERS)(gpus[0])
    else:
        opener = _load(_SEVERAL_DECODERS)(gpus).open
    return opener


def open_device(
    name: str,
    model: Model,
    shapes: Sequence[ShapeHW],
    wake: Callable[[], None],
    score_floor: float | Scores | None = None,
    stop: threading.Event | None = None,
    on_status: Callable[[str], None] | None = None,
    max_batch: int | None = None,
) -> LoadedDevice:
    """Open the chosen device `name` for `model` at the input `shapes`.

    `wake` is called from any thread whenever something finished. `score_floor` is the lowest score handed back, for
    all classes or one for each; None: the model's own threshold. `stop`, set by another thread, ends the building of
    an engine, which takes a GPU minutes; `on_status` is called from any thread with a sentence about each of its steps,
    and with "" when it is over. `max_batch` is the most frames that a batch is to have at first, which a GPU makes room
    for; None: as many as there can be.

    Raises:
        DeviceError: no such device, its libraries are missing, it cannot be used here, or `stop` was set.
        ModelError: the device's engine cannot read the model.
    """
    gpus = chosen_gpus(name)
    entry, options = DEVICES["cpu"], dict[str, object]()
    for_gpus = {"stop": stop, "on_status": on_status, "max_batch": max_batch}
    if len(gpus) == 1:
        entry, options = DEVICES["cuda"], {"index": gpus[0], **for_gpus}
    elif gpus:
        entry, options = _SEVERAL_GPUS, {"indices": gpus, **for_gpus}
    device: LoadedDevice = _load(entry)(model, shapes, wake, score_floor=score_floor, **options)
    return device


def _idle_gpu(gpus: Sequence[str], reason: DeviceError) -> str:
    found = ", ".join(gpus)
    return f"the CPU inspects, though there is an NVIDIA GPU ({found}): {reason}; see vision-line doctor, or choose cpu"


def _numbered(gpus: Sequence[int]) -> str:
    """Return the name of the device that consists of these GPUs."""
    return "cuda" if tuple(gpus) == (0,) else f"cuda:{','.join(map(str, gpus))}"


def _load(entry: str) -> Any:
    module, _, attribute = entry.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as exc:
        raise DeviceError(f"device: a library is missing or broken: {exc}") from exc


def nvidia_gpus(root: Path = Path("/")) -> tuple[str, ...]:
    """Return the driver's device files, else the PCI addresses of GPUs without a driver here; () on other machines.

    The kernel shows them: no library and no driver is needed to look. `root` is the root of the file system.
    """
    nodes = tuple(str(Path("/dev") / path.name) for path in sorted((root / "dev").glob("nvidia[0-9]*")))
    return nodes or tuple(f"PCI {address}" for address in sorted(_on_pci_bus(root / "sys/bus/pci/devices")))


def _on_pci_bus(devices: Path) -> Iterator[str]:
    for device in devices.glob("*"):
        with suppress(OSError):  # a device that is taken out while it is looked at is not there
            vendor, kind = (device / "vendor").read_text().strip(), (device / "class").read_text()
            if vendor == _NVIDIA_VENDOR and kind.startswith(_DISPLAY_CLASS):
                yield device.name
