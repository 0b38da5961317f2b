# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which device runs: a table of import strings, so that a device's libraries are loaded only when it is chosen.

Names are `cpu`, `cuda` (the first GPU), `cuda:1` (another) and `auto`, the best that can be used here.
"""

from __future__ import annotations

import importlib
import logging
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

from vision_line.devices.model import Model
from vision_line.errors import DeviceError
from vision_line.frames import Colour, Scores
from vision_line.ports import Decoder, Device, ShapeHW

log = logging.getLogger(__name__)

#: Kind of device -> "module:class"; each is called as `open_device` calls it.
DEVICES = {"cpu": "vision_line.devices.cpu:CpuDevice", "cuda": "vision_line.devices.cuda.device:CudaDevice"}

_CPU_DECODER = "vision_line.devices.decoding:CpuDecoder"
_GPU_DECODERS = "vision_line.devices.cuda.decoding:decoders_on"
_GPU_CHECK = "vision_line.devices.cuda.engine_files:check_gpu"

_NAME = re.compile(r"(?P<kind>cpu|cuda)(:(?P<index>\d+))?")

OpenDecoder = Callable[[str, Any, Colour | None], Decoder]


def choose_device(name: str) -> str:
    """Return the device that `name` ("auto": the best there is) stands for, once it is seen to be there.

    Raises:
        DeviceError: there is no such device, or it cannot be used here.
    """
    if name == "auto":
        try:
            _load(_GPU_CHECK)(0)
        except DeviceError as exc:
            log.info("the CPU inspects: %s", exc)
            return "cpu"
        return "cuda"
    kind, index = _parsed(name)
    if kind == "cuda":
        _load(_GPU_CHECK)(index)
    return name


def decoder_opener(name: str) -> OpenDecoder:
    """Return what opens decoders for the chosen device `name` before the device itself is opened.

    Cameras start first: the device's input shapes follow from the pictures that they send. See `Device.open_decoder`.

    Raises:
        DeviceError: there is no such device, or a library is missing.
    """
    kind, index = _parsed(name)
    opener: OpenDecoder = _load(_CPU_DECODER) if kind == "cpu" else _load(_GPU_DECODERS)(index).open
    return opener


def open_device(
    name: str,
    model: Model,
    shapes: Sequence[ShapeHW],
    wake: Callable[[], None],
    score_floor: float | Scores | None = None,
    stop: threading.Event | None = None,
) -> Device:
    """Open the chosen device `name` for `model` at the input `shapes`.

    `wake` is called from any thread whenever something finished. `score_floor` is the lowest score handed back, for
    all classes or one for each; None: the model's own threshold. `stop`, set by another thread, ends the building of
    an engine, which takes a GPU minutes.

    Raises:
        DeviceError: no such device, its libraries are missing, it cannot be used here, or `stop` was set.
        ModelError: the device's engine cannot read the model.
    """
    kind, index = _parsed(name)
    of_a_gpu: dict[str, Any] = {"index": index, "stop": stop} if kind == "cuda" else {}
    device: Device = _load(DEVICES[kind])(model, shapes, wake, score_floor=score_floor, **of_a_gpu)
    return device


def _parsed(name: str) -> tuple[str, int]:
    found = _NAME.fullmatch(name)
    if found is None or (found["kind"] == "cpu" and found["index"]):
        raise DeviceError(f"device: expected one of auto, cpu, cuda, cuda:NUMBER, found {name!r}")
    return found["kind"], int(found["index"] or 0)


def _load(entry: str) -> Any:
    module, _, attribute = entry.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as exc:
        raise DeviceError(f"device: a library is missing or broken: {exc}") from exc
