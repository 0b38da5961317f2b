# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where engines come from: the bundle that was built elsewhere, else a cache folder, where they are built once."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from vision_line.devices.cuda.build_room import room_for_build
from vision_line.devices.cuda.context import GpuContext, open_gpu
from vision_line.devices.model.bundle import WEIGHTS_ALONE, WHOLLY_FLOAT16
from vision_line.devices.model.model import Model, ModelVariant
from vision_line.devices.tensorrt.build import (
    OnBuildProgress,
    build_engine,
    check_library,
    ensure_engine,
    library_version,
)
from vision_line.devices.tensorrt.engine_choice import kept_variant
from vision_line.devices.tensorrt.engine_manifest import Library, Target, check_engine, engine_path
from vision_line.errors import DeviceError, ModelError
from vision_line.ports import ShapeHW

logger = logging.getLogger(__name__)

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


def target_of(gpu: GpuContext, library: Library) -> Target:
    """Return what engines for `gpu` are built for: TensorRT's for this very model, RTX's for its generation."""
    if library is Library.TENSORRT:
        return Target(library, gpu.sm, gpu.name, partial(room_for_build, gpu))
    return Target(library, gpu.sm)


def check_gpu(index: int) -> None:
    """Make sure that GPU `index` and a library for its engines are there; opens neither engine nor decoder.

    Raises:
        DeviceError: as `open_gpu`, `choose_library` and `check_library`.
    """
    gpu = open_gpu(index)
    check_library(target_of(gpu, choose_library()))


@dataclass(frozen=True, slots=True)
class EngineSource:
    """An engine on disk that fits; `was_there` says whether it was before anyone asked.

    `variant` is what of the model it is made of, or measured by, where that file is gone.
    """

    path: Path
    was_there: bool
    variant: ModelVariant


def find_engine(
    model: Model,
    shape_hw: ShapeHW,
    target: Target,
    cache: Path | None = None,
    stop: threading.Event | None = None,
    on_status: Callable[[str], None] | None = None,
) -> Path:
    """Return the first of `engine_sources`.

    Raises:
        DeviceError, ModelError: as `build_engine`.
    """
    return next(engine_sources(model, shape_hw, target, cache, stop, on_status)).path


def engine_sources(
    model: Model,
    shape_hw: ShapeHW,
    target: Target,
    cache: Path | None = None,
    stop: threading.Event | None = None,
    on_status: Callable[[str], None] | None = None,
) -> Iterator[EngineSource]:
    """Yield engines of `model` that fit `target`: the bundle's, the cache's, and one that is built now.

    The next one is asked for when the one before turns out to be wrong; what was built now is not built again. Of a
    bundle with variants for GPUs the one that suits the library comes first, and the model's own file last. A
    bundle's engine may be one of the FP16 variant of its model, where that was chosen; its manifest says. `cache` is
    the folder for all engines, None: the user's. Building takes a second to minutes and is logged; `stop`, set by
    another thread, ends it. `on_status` is called from any thread with a sentence about each step of the build, and
    with "" when it is over; it must not raise.

    Raises:
        DeviceError, ModelError: as `build_engine`, for the last variant.
    """
    version = library_version(target.library)
    written = written_for(model, target.library)
    yield from _shipped_engines(model, written, shape_hw, target, version)
    asked = _Building(shape_hw, target, version, cache or cache_folder(), stop, on_status or _ignore_status)
    for variant in written:
        try:
            yield from asked.engines(as_written(model, variant), variant)
        except (DeviceError, ModelError) as exc:
            if variant is written[-1] or (stop is not None and stop.is_set()):
                raise
            logger.warning("the variant %s of the model is not used: %s", variant.name, exc)


def written_for(model: Model, library: Library) -> tuple[ModelVariant, ...]:
    """Return the variants of `model` that engines of `library` are made of, the one that suits it first. Pure.

    TensorRT computes INT8 and what is between in the types of the file, so it gets float16 between. TensorRT-RTX keeps
    INT8 weights and computes in float whatever the file says: pairs of activations would only be arithmetic to it.
    What is float16 as a whole is not among them: it runs where a GPU was faster with it, see `engine_choice`.
    """
    quantized = [one for one in model.gpu_variants if one.name != WHOLLY_FLOAT16]
    suited = [one for one in quantized if library is Library.TENSORRT or one.name == WEIGHTS_ALONE]
    return (*suited, model.variants[0])


def as_written(model: Model, variant: ModelVariant) -> Model:
    """Return `model` with the file of one of its variants."""
    if variant is model.variants[0]:
        return model
    precision = variant.precision or model.precision
    return replace(model, path=variant.path, sha256=variant.sha256, precision=precision)


@dataclass(frozen=True, slots=True)
class _Building:
    """How engines for one input shape are built and kept."""

    shape_hw: ShapeHW
    target: Target
    version: str
    cache: Path
    stop: threading.Event | None
    on_status: Callable[[str], None]

    def engines(self, model: Model, variant: ModelVariant) -> Iterator[EngineSource]:
        """Yield the engine in the cache, built where there is none, and where it was there another one.

        Raises:
            DeviceError, ModelError: as `build_engine`.
        """
        folder = self.cache / _folder_name(model, self.target, self.version)
        engine = engine_path(folder, model, self.shape_hw, self.target)
        was_there = _fits(engine, model, self.shape_hw, self.target, self.version)
        yield EngineSource(self._made(ensure_engine, model, folder), was_there, variant)
        if was_there:
            yield EngineSource(self._made(build_engine, model, folder), False, variant)

    def _made(self, make: Callable[..., Path], model: Model, folder: Path) -> Path:
        try:
            report = _step_reporter(self.shape_hw, self.on_status)
            return make(model, self.shape_hw, self.target, folder, report, self.stop)
        finally:
            self.on_status("")


def _shipped_engines(
    model: Model, written: Sequence[ModelVariant], shape_hw: ShapeHW, target: Target, version: str
) -> Iterator[EngineSource]:
    """Yield the bundle's engines that fit: that of the precision that was chosen, and those of the model itself."""
    folder = model.path.parent / ENGINES_FOLDER
    kept = kept_variant(folder, model, shape_hw, target, version)
    # the FP16 variant has a reference of its own where the bundle has its file
    made_of_file = next((one for one in model.gpu_variants if one.sha256 == kept.sha256), model.variants[0])
    offered = [] if kept is model else [(kept, made_of_file)]
    offered += [(as_written(model, variant), variant) for variant in written]
    for made_of, variant in offered:
        engine = engine_path(folder, made_of, shape_hw, target)
        if engine.exists():
            try:
                check_engine(engine, made_of, shape_hw, target, version)
            except DeviceError as exc:
                logger.warning("the bundle's engine is not used: %s", exc)
            else:
                yield EngineSource(engine, was_there=True, variant=variant)


def _fits(engine: Path, model: Model, shape_hw: ShapeHW, target: Target, version: str) -> bool:
    try:
        check_engine(engine, model, shape_hw, target, version)
    except DeviceError:
        return False
    return True


def cache_folder() -> Path:
    """Return the user's cache folder for engines."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "vision-line" / "engines"


def _folder_name(model: Model, target: Target, version: str) -> str:
    """Return what distinguishes engines that share a file name: model, library version, GPU."""
    gpu = re.sub(r"[^A-Za-z0-9]+", "-", target.gpu or f"sm{target.sm}").strip("-")
    return f"{model.sha256[:16]}-{target.library}-{version}-{gpu}"


def _step_reporter(shape_hw: ShapeHW, on_status: Callable[[str], None]) -> OnBuildProgress:
    """Return what reports each step of a build, and logs one every two seconds."""
    height, width = shape_hw
    due_s = time.monotonic() + _REPORT_EVERY_S

    def report(phase: str, done: int, total: int) -> None:
        nonlocal due_s
        sentence = f"building the engine for {width}x{height}: {phase}, step {done} of {total}"
        on_status(sentence)
        now_s = time.monotonic()
        if now_s >= due_s:
            due_s = now_s + _REPORT_EVERY_S
            logger.info("%s", sentence)

    return report


def _ignore_status(_sentence: str) -> None:
    """Stand in where nobody asked for the status."""
