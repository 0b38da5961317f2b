# SPDX-License-Identifier: AGPL-3.0-or-later
"""Builds engines with TensorRT 10, TensorRT 11 or TensorRT-RTX: one path, because it uses only what all three have.

The network is strongly typed, so precision is what the file says: INT8 where it has Q/DQ pairs, else its floats. Each
engine is for one input shape and has one optimization profile for each of `BATCH_RANGES`; of a yolov8 head it hands
back the best anchors only. TensorRT needs the GPU that it builds for; TensorRT-RTX builds for a compute capability on
any machine.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

from vision_line.devices.model.model import Model
from vision_line.devices.model.tasks import GPU_TASKS, task_problem
from vision_line.devices.tensorrt.engine_manifest import (
    BATCH_RANGES,
    MANIFEST_VERSION,
    BuildRoom,
    EngineManifest,
    EngineTensor,
    Library,
    Target,
    check_engine,
    engine_path,
    manifest_path,
    top_k,
    write_whole,
)
from vision_line.devices.tensorrt.targets import check_target, target_rules
from vision_line.devices.tensorrt.top_k import keep_best_anchors
from vision_line.errors import DeviceError, ModelError
from vision_line.ports import ShapeHW

if TYPE_CHECKING:
    import tensorrt

logger = logging.getLogger(__name__)

#: Called from the builder's threads with a phase's name, steps done and steps in all; it must not raise.
OnBuildProgress = Callable[[str, int, int], None]

_MODULES = {Library.TENSORRT: "tensorrt", Library.RTX: "tensorrt_rtx"}
_TIMING_CACHE = "timing.cache"
_POLL_S = 0.1


def library_version(library: Library) -> str:
    """Return the version of an installed library.

    Raises:
        DeviceError: it is not installed, or its own libraries are missing.
    """
    return str(open_library(library).__version__)


def ensure_engine(
    model: Model,
    shape_hw: ShapeHW,
    target: Target,
    folder: Path,
    progress: OnBuildProgress | None = None,
    stop: threading.Event | None = None,
) -> Path:
    """Return an engine in `folder` that fits; a missing or stale one is built.

    Raises:
        DeviceError, ModelError: as `build_engine`.
    """
    engine = engine_path(folder, model, shape_hw, target)
    try:
        check_engine(engine, model, shape_hw, target, library_version(target.library))
    except DeviceError as exc:
        logger.info("engine is built: %s", exc)
        return build_engine(model, shape_hw, target, folder, progress, stop)
    return engine


def check_task(model: Model) -> None:
    """Refuse a model whose outputs GPUs do not hand back.

    Raises:
        ModelError: its task is not among `GPU_TASKS`.
    """
    if problem := task_problem(model.head.task, GPU_TASKS):
        raise ModelError(f"{model.path}: {problem} on a GPU: choose the device cpu")


def build_engine(
    model: Model,
    shape_hw: ShapeHW,
    target: Target,
    folder: Path,
    progress: OnBuildProgress | None = None,
    stop: threading.Event | None = None,
) -> Path:
    """Build an engine and its manifest into `folder` and return the engine's path.

    Takes from a second (RTX) to minutes. Ctrl-C in the calling thread, or `stop` set by another one, ends the build at
    its next step and leaves no file.

    Raises:
        DeviceError: the library is missing, does not know the compute capability, cannot build, or was stopped.
        ModelError: the library cannot parse the model, its input has a fixed batch, height or width, or its output is
            not a yolov8 head's although the model says so; or its task is none that GPUs are used for.
    """
    check_task(model)
    # The library calls Python back (its log, the progress), and swallows what is raised there: Ctrl-C, which Python
    # raises in the main thread wherever that is, would be lost. So the library is used in a thread of its own.
    stop = stop or threading.Event()
    waited_for = threading.Event()  # a pool does not join a thread whose start was interrupted

    def build() -> Path:
        waited_for.wait()
        if stop.is_set():
            raise _stopped(model, target)
        with nullcontext() if target.room is None else target.room() as room:
            return _build(model, shape_hw, target, room=room, folder=folder, progress=progress, stop=stop)

    with ThreadPoolExecutor(1, thread_name_prefix="engine-build") as pool:
        try:
            building = pool.submit(build)
            waited_for.set()
            while not building.done():
                wait((building,), _POLL_S)  # not for ever: the signal may have been handled by another thread
            return building.result()
        except KeyboardInterrupt:
            stop.set()
            waited_for.set()
            raise


def open_library(library: Library) -> ModuleType:
    """Return the library's module.

    Raises:
        DeviceError: it is not installed, or its own libraries are missing.
    """
    name = _MODULES[library]
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as exc:
        raise DeviceError(f"{library}: cannot be loaded: {exc}; install the package that provides {name!r}") from exc


class BuildLogger(Protocol):
    """The library's logger, as text its latest errors."""

    errors: deque[str]


@lru_cache(maxsize=len(_MODULES))
def open_logger(trt: ModuleType) -> BuildLogger:
    """Return the library's one logger: it takes no second one in a process. Its text is the latest errors.

    It is called for every message, some ten thousand in a build of TensorRT-RTX's; that took no time that could be
    measured, also beside a thread that keeps the interpreter busy. The way without them, an error recorder in Python,
    ends the process where builder, network and parser are given up (1.7.1).
    """

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined] # the base is known only when the library is
        """Hands the library's messages to `logging` and keeps the latest errors."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: deque[str] = deque(maxlen=3)

        def log(self, severity: tensorrt.ILogger.Severity, message: str) -> None:
            level = int(severity)
            if level <= int(trt.ILogger.ERROR):
                self.errors.append(message)
            logger.log(logging.WARNING if level <= int(trt.ILogger.WARNING) else logging.DEBUG, "%s", message)

        def __str__(self) -> str:
            return "; ".join(self.errors) or "it gives no reason"

    return Logger()


def _build(
    model: Model,
    shape_hw: ShapeHW,
    target: Target,
    room: BuildRoom | None,
    folder: Path,
    progress: OnBuildProgress | None,
    stop: threading.Event,
) -> Path:
    trt = open_library(target.library)
    started_s = time.monotonic()
    logger = open_logger(trt)
    logger.errors.clear()
    builder = _open_builder(trt, logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    _parse(parser, model)
    _check_input(network, model)
    limit = top_k(model)
    if limit is not None:
        keep_best_anchors(trt, network, model, shape_hw, limit)
    folder.mkdir(parents=True, exist_ok=True)
    config = builder.create_builder_config()
    _set_target(trt, config, target)
    if room is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, room.workspace_bytes)
        config.profile_stream = room.stream
    _add_profiles(builder, config, model, shape_hw)
    cache = _open_timing_cache(config, target, folder)
    config.progress_monitor = _open_monitor(trt, stop, progress)
    plan = builder.build_serialized_network(network, config)
    if stop.is_set():
        raise _stopped(model, target)
    if plan is None:
        raise DeviceError(
            f"{model.path}: {target.library} {trt.__version__} cannot build it for SM {target.sm}: {logger}"
        )
    if cache is not None:
        write_whole(folder / _TIMING_CACHE, bytes(cache.serialize()))
    content = bytes(plan)
    manifest = EngineManifest(
        manifest_version=MANIFEST_VERSION,
        library=target.library,
        library_version=str(trt.__version__),
        sm=target.sm,
        gpu=target.gpu,
        model_sha256=model.sha256,
        precision=model.precision,
        engine_sha256=hashlib.sha256(content).hexdigest(),
        shape_hw=shape_hw,
        batch_ranges=BATCH_RANGES,
        top_k=limit,
        inputs=tuple(_tensor(network.get_input(number)) for number in range(network.num_inputs)),
        outputs=tuple(_tensor(network.get_output(number)) for number in range(network.num_outputs)),
        build_s=round(time.monotonic() - started_s, 3),
    )
    return _write(engine_path(folder, model, shape_hw, target), content, manifest)


def _stopped(model: Model, target: Target) -> DeviceError:
    return DeviceError(f"{model.path}: the build of its engine for SM {target.sm} was stopped")


def _open_builder(trt: ModuleType, logger: BuildLogger) -> tensorrt.Builder:
    try:
        return trt.Builder(logger)
    except TypeError as exc:  # what the bindings raise when the library gives no object
        raise DeviceError(f"{trt.__name__} {trt.__version__} cannot build here: {logger}") from exc


def _parse(parser: tensorrt.OnnxParser, model: Model) -> None:
    if not parser.parse(model.content(model.path)):
        faults = "; ".join(parser.get_error(number).desc() for number in range(parser.num_errors))
        raise ModelError(f"{model.path}: cannot be parsed: {faults or 'no reason given'}")


def _check_input(network: tensorrt.INetworkDefinition, model: Model) -> None:
    found = tuple(network.get_input(0).shape)
    if network.num_inputs != 1 or len(found) != 4 or found[0] != -1 or found[2] != -1 or found[3] != -1:
        raise ModelError(f"{model.path}: expected an input (batch, 3, height, width) of free sizes, found {found}")


def _set_target(trt: ModuleType, config: tensorrt.IBuilderConfig, target: Target) -> None:
    if target.library is Library.TENSORRT:  # builds for the GPU that is present
        config.profiling_verbosity = (
            trt.ProfilingVerbosity.DETAILED
        )  # so that `engine_layers` can say what it computes in
        if target_rules(target.sm).sparse_weights:
            config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
        return
    config.num_compute_capabilities = 1
    config.set_compute_capability(_rtx_capability(trt, target.sm), 0)
    config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)  # without it, its work may not be recorded in a graph


def check_library(target: Target) -> None:
    """Check that the library that is installed makes engines for `target`.

    Raises:
        DeviceError: it does not, and why.
    """
    trt = open_library(target.library)
    check_target(target, str(trt.__version__))
    if target.library is Library.RTX:
        _rtx_capability(trt, target.sm)


def _rtx_capability(trt: ModuleType, sm: int) -> object:
    """Return TensorRT-RTX's member for a compute capability: it has those of RTX GPUs, not of Jetsons and servers."""
    capability = trt.ComputeCapability.__members__.get(f"SM{sm}")
    if capability is None:
        known = ", ".join(name for name in trt.ComputeCapability.__members__ if name.startswith("SM"))
        raise DeviceError(f"{Library.RTX} {trt.__version__}: expected one of {known}, found SM{sm}")
    return capability


def _add_profiles(builder: tensorrt.Builder, config: tensorrt.IBuilderConfig, model: Model, shape_hw: ShapeHW) -> None:
    for batches in BATCH_RANGES:
        profile = builder.create_optimization_profile()
        profile.set_shape(model.input_name, *((batch, 3, *shape_hw) for batch in batches))
        config.add_optimization_profile(profile)


def _open_timing_cache(config: tensorrt.IBuilderConfig, target: Target, folder: Path) -> tensorrt.ITimingCache | None:
    """Give `config` the folder's timing cache; TensorRT-RTX times nothing, and would look for a GPU."""
    if target.library is not Library.TENSORRT:
        return None
    path = folder / _TIMING_CACHE
    stored = path.read_bytes() if path.exists() else b""
    cache = config.create_timing_cache(stored)
    if config.set_timing_cache(cache, ignore_mismatch=False):
        return cache
    logger.info("%s: measured on another GPU or by another version: all is measured again, and kept in its place", path)
    cache = config.create_timing_cache(b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _open_monitor(
    trt: ModuleType, stop: threading.Event, progress: OnBuildProgress | None
) -> tensorrt.IProgressMonitor:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined] # the base is known only when the library is
        """Reports steps, and ends the build when `stop` is set; called from the builder's threads."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, _parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if progress is not None:
                progress(phase_name, step + 1, self._steps.get(phase_name, 0))
            return not stop.is_set()

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()


def _tensor(tensor: tensorrt.ITensor) -> EngineTensor:
    return EngineTensor(name=tensor.name, dtype=str(tensor.dtype).rpartition(".")[2], shape=tuple(tensor.shape))


def _write(engine: Path, content: bytes, manifest: EngineManifest) -> Path:
    """Write the engine, then its manifest: in between, the old manifest's hash refuses the new engine."""
    write_whole(engine, content)
    write_whole(manifest_path(engine), f"{manifest.model_dump_json(indent=2)}\n".encode())
    return engine
