# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where engines come from: the bundle that was built elsewhere, else a cache folder, where they are built once."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

from vision_line.devices.cuda.context import Gpu, open_gpu
from vision_line.devices.engine_choice import kept_form
from vision_line.devices.engine_manifest import Library, Target, check_engine, engine_path
from vision_line.devices.model import Model
from vision_line.devices.tensorrt_build import Progress, ensure_engine, library_version
from vision_line.errors import DeviceError
from vision_line.ports import ShapeHW

log = logging.getLogger(__name__)

#: Folder beside a bundle's model that holds engines built ahead.
ENGINES_FOLDER = "engines"

_REPORT_EVERY_S = 2.0


def choose_library() -> Library:
    """Return the library that engines run with: TensorRT, which computes in INT8, else TensorRT-RTX.

    Raises:
        DeviceError: neither is installed.
    """
    faults = []
    for library in (Library.TENSORRT, Library.RTX):
        try:
            library_version(library)
        except DeviceError as exc:
            faults.append(str(exc))
        else:
            return library
    raise DeviceError(f"cuda: neither TensorRT nor TensorRT-RTX can be used: {'; '.join(faults)}")


def target_of(gpu: Gpu, library: Library) -> Target:
    """Return what engines for `gpu` are built for: TensorRT's for this very model, RTX's for its generation."""
    return Target(library, gpu.sm, gpu.name if library is Library.TENSORRT else None)


def check_gpu(index: int) -> None:
    """Make sure that GPU `index` and a library for its engines are there; opens neither engine nor decoder.

    Raises:
        DeviceError: as `open_gpu` and `choose_library`.
    """
    open_gpu(index)
    choose_library()


def find_engine(
    model: Model,
    shape_hw: ShapeHW,
    target: Target,
    cache: Path | None = None,
    stop: threading.Event | None = None,
    tell: Callable[[str], None] | None = None,
) -> Path:
    """Return an engine of `model` that fits `target`: the bundle's, the cache's, or one that is built now.

    A bundle's may be one of the float16 sibling of its model, where that was chosen; its manifest tells. `cache` is the
    folder for all engines, None: the user's. Building takes a second to minutes and is logged; `stop`, set by another
    thread, ends it. `tell` is called from any thread with a sentence about each step of the build, and with "" when it
    is over; it must not raise.

    Raises:
        DeviceError, ModelError: as `build_engine`.
    """
    version = library_version(target.library)
    shipped = _shipped_engine(model, shape_hw, target, version)
    if shipped is not None:
        return shipped
    folder = (cache or cache_folder()) / _folder_name(model, target, version)
    tell = tell or _tell_nobody
    try:
        return ensure_engine(model, shape_hw, target, folder, _steps_told(shape_hw, tell), stop)
    finally:
        tell("")


def _shipped_engine(model: Model, shape_hw: ShapeHW, target: Target, version: str) -> Path | None:
    """Return the bundle's engine that fits: that of the form that was chosen, else that of the model itself."""
    folder = model.path.parent / ENGINES_FOLDER
    kept = kept_form(folder, model, shape_hw, target, version)
    for form in (kept, model) if kept is not model else (model,):
        engine = engine_path(folder, form, shape_hw, target)
        if engine.exists():
            try:
                check_engine(engine, form, shape_hw, target, version)
            except DeviceError as exc:
                log.warning("the bundle's engine is not used: %s", exc)
            else:
                return engine
    return None


def cache_folder() -> Path:
    """Return the user's cache folder for engines."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "vision-line" / "engines"


def _folder_name(model: Model, target: Target, version: str) -> str:
    """Return what tells engines apart that share a file name: model, library version, GPU."""
    gpu = re.sub(r"[^A-Za-z0-9]+", "-", target.gpu or f"sm{target.sm}").strip("-")
    return f"{model.sha256[:16]}-{target.library}-{version}-{gpu}"


def _steps_told(shape_hw: ShapeHW, tell: Callable[[str], None]) -> Progress:
    """Return what tells each step of a build, and logs one every two seconds."""
    height, width = shape_hw
    due_s = time.monotonic() + _REPORT_EVERY_S

    def report(phase: str, done: int, total: int) -> None:
        nonlocal due_s
        sentence = f"building the engine for {width}x{height}: {phase}, step {done} of {total}"
        tell(sentence)
        now_s = time.monotonic()
        if now_s >= due_s:
            due_s = now_s + _REPORT_EVERY_S
            log.info("%s", sentence)

    return report


def _tell_nobody(_sentence: str) -> None:
    """Stand in where nobody wants to hear."""
