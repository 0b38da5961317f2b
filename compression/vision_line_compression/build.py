# SPDX-License-Identifier: AGPL-3.0-or-later
"""Builds a bundle's engines with the runtime's own builder: TensorRT-RTX's on any machine, TensorRT's on its GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from vision_line.devices.bundle import BUNDLE_FILE
from vision_line.devices.cuda.context import open_gpu
from vision_line.devices.engine_manifest import Library, Target
from vision_line.devices.model import open_model
from vision_line.devices.targets import check_target
from vision_line.devices.tensorrt_build import Progress, ensure_engine, library_version
from vision_line.errors import ModelError

ENGINES_FOLDER = "engines"

#: Compute capabilities without their dot: Turing, Ampere, Ada and Blackwell.
DEFAULT_SMS = (75, 86, 89, 120)

#: Opens the display of one engine's build, by its title; what it gives is called from the builder's threads.
Display = Callable[[str], AbstractContextManager[Progress | None]]


def build_rtx_engines(bundle: Path, sms: Iterable[int] = DEFAULT_SMS, display: Display | None = None) -> list[Path]:
    """Build an engine for each evaluated input shape and each of `sms` into `bundle`/engines.

    Engines that fit already are kept; stale ones are replaced.

    Raises:
        ModelError: `bundle` is no bundle, or TensorRT-RTX cannot parse its model.
        DeviceError: TensorRT-RTX is not installed, or cannot build; or engines for one of `sms` are not supported.
    """
    _ensure_bundle(bundle)
    return _build(bundle, [Target(Library.RTX, sm) for sm in sms], display)


def build_tensorrt_engines(bundle: Path, display: Display | None = None) -> list[Path]:
    """Build an engine for each evaluated input shape and the first GPU that is visible into `bundle`/engines.

    TensorRT measures what is fastest on that very GPU, which takes minutes, and keeps what it measured in a timing
    cache beside the engines. Engines that fit already are kept; stale ones are replaced.

    Raises:
        ModelError: `bundle` is no bundle, or TensorRT cannot parse its model.
        DeviceError: there is no GPU, TensorRT is not installed or too old or too new for it, or it cannot build.
    """
    _ensure_bundle(bundle)
    gpu = open_gpu()
    return _build(bundle, [Target(Library.TENSORRT, gpu.sm, gpu.name)], display)


def _ensure_bundle(bundle: Path) -> None:
    if not (bundle / BUNDLE_FILE).is_file():
        raise ModelError(f"{bundle}: expected a bundle folder with {BUNDLE_FILE}")


def _build(bundle: Path, targets: list[Target], display: Display | None) -> list[Path]:
    for target in targets:
        check_target(target, library_version(target.library))
    model = open_model(bundle)
    orders = [(shape, target) for shape in model.input_shapes_hw for target in targets]
    engines = []
    for number, (shape, target) in enumerate(orders, start=1):
        title = f"engine {number} of {len(orders)}: {shape[0]}x{shape[1]} SM {target.sm}"
        with nullcontext(None) if display is None else display(title) as progress:
            engines.append(ensure_engine(model, shape, target, bundle / ENGINES_FOLDER, progress))
    return engines
