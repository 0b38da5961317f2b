# SPDX-License-Identifier: AGPL-3.0-or-later
"""Builds a bundle's TensorRT-RTX engines, on any machine, with the runtime's own builder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from vision_line.devices.bundle import BUNDLE_FILE
from vision_line.devices.engine_manifest import Library, Target
from vision_line.devices.model import open_model
from vision_line.devices.tensorrt_build import ensure_engine
from vision_line.errors import ModelError

ENGINES_FOLDER = "engines"

#: Compute capabilities without their dot: Turing, Ampere, Ada and Blackwell.
DEFAULT_SMS = (75, 86, 89, 120)

#: Called before each engine with its number from 0, their count, and what it is for.
Started = Callable[[int, int, str], None]


def build_rtx_engines(bundle: Path, sms: Iterable[int] = DEFAULT_SMS, started: Started | None = None) -> list[Path]:
    """Build an engine for each evaluated input shape and each of `sms` into `bundle`/engines.

    Engines that fit already are kept; stale ones are replaced.

    Raises:
        ModelError: `bundle` is no bundle, or TensorRT-RTX cannot parse its model.
        DeviceError: TensorRT-RTX is not installed, or cannot build.
    """
    if not (bundle / BUNDLE_FILE).is_file():
        raise ModelError(f"{bundle}: expected a bundle folder with {BUNDLE_FILE}")
    model = open_model(bundle)
    orders = [(shape, Target(Library.RTX, sm)) for shape in model.input_shapes_hw for sm in sms]
    engines = []
    for number, (shape, target) in enumerate(orders):
        if started is not None:
            started(number, len(orders), f"{shape[0]}x{shape[1]} SM {target.sm}")
        engines.append(ensure_engine(model, shape, target, bundle / ENGINES_FOLDER))
    return engines
