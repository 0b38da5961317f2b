# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which device runs: a table of import strings, so that a device's libraries are loaded only when it is chosen."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from vision_line.devices.model import Model
from vision_line.errors import DeviceError
from vision_line.frames import Colour, Scores
from vision_line.ports import Decoder, Device, ShapeHW

#: Device name -> "module:class"; each is called as `open_device` calls it.
DEVICES = {"cpu": "vision_line.devices.cpu:CpuDevice"}

#: Device name -> "module:class" of its decoder, called as `Device.open_decoder`.
DECODERS = {"cpu": "vision_line.devices.decoding:CpuDecoder"}

#: What `auto` tries, best first.
PREFERRED = ("cpu",)

_ABSENT = {"cuda": "the NVIDIA device is not part of this version of vision-line; use --device cpu"}


def choose_device(name: str) -> str:
    """Return the name of the device that `name` ("auto": the best there is) stands for.

    Raises:
        DeviceError: there is no such device in this version.
    """
    chosen = PREFERRED[0] if name == "auto" else name
    kind = chosen.partition(":")[0]
    if kind in _ABSENT:
        raise DeviceError(_ABSENT[kind])
    if chosen not in DEVICES:
        raise DeviceError(f"device: expected one of auto, {', '.join(DEVICES)}, found {name!r}")
    return chosen


def decoder_opener(name: str) -> Callable[[str, Any, Colour | None], Decoder]:
    """Return what opens decoders for the device `name` before the device itself is opened.

    Cameras start first: the device's input shapes follow from the pictures that they send. See `Device.open_decoder`.

    Raises:
        DeviceError: as `choose_device`, or a library is missing.
    """
    opener: Callable[[str, Any, Colour | None], Decoder] = _load(DECODERS, choose_device(name))
    return opener


def open_device(
    name: str,
    model: Model,
    shapes: Sequence[ShapeHW],
    wake: Callable[[], None],
    score_floor: float | Scores | None = None,
) -> Device:
    """Open the device `name` ("auto": the best there is) for `model` at the input `shapes`.

    `wake` is called from any thread whenever something finished. `score_floor` is the lowest score handed back, for
    all classes or one for each; None: the model's own threshold.

    Raises:
        DeviceError: no such device, its libraries are missing, or it cannot be used here.
        ModelError: the device's engine cannot read the model.
    """
    device: Device = _load(DEVICES, choose_device(name))(model, shapes, wake, score_floor=score_floor)
    return device


def _load(table: dict[str, str], name: str) -> Any:
    module, _, attribute = table[name].partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as exc:
        raise DeviceError(f"device {name}: a library is missing or broken: {exc}") from exc
