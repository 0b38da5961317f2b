# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is written beside a TensorRT engine, and the check that keeps a stale one from being used.

An engine belongs to one model file, one library version and one kind of GPU. The sidecar `NAME.engine.json` says which;
an engine without one, or with one that does not fit, is refused with everything that differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vision_line.devices.model.model import Model
from vision_line.documented import Documented
from vision_line.errors import DeviceError
from vision_line.ports import ShapeHW

MANIFEST_VERSION = 3

#: Anchors of each frame that an engine hands back for a yolov8 head, those with the best scores.
TOP_K = 1024

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
BatchRange = tuple[int, int, int]  # smallest, the one to tune for, largest

#: Batches of an engine's two optimization profiles: few cameras at once, and many.
BATCH_RANGES: tuple[BatchRange, ...] = ((1, 1, 4), (5, 16, 32))


class Library(StrEnum):
    """Which library builds and runs an engine. Stable: written in manifests and file names."""

    TENSORRT = "tensorrt"
    RTX = "tensorrt-rtx"


@dataclass(frozen=True, slots=True)
class BuildRoom:
    """What a build may take of a GPU that others use meanwhile.

    `workspace_bytes` is the most memory that a kernel may want for itself; `stream` is the handle of the one on which
    kernels are timed.
    """

    workspace_bytes: int
    stream: int


@dataclass(frozen=True, slots=True)
class Target:
    """What an engine is built for: `sm` is the GPU's compute capability without its dot, 86 for 8.6.

    `gpu` is the name of the GPU that TensorRT tunes for, because its engines fit that type alone. `room` makes that GPU
    current in the thread that builds, otherwise it would be tuned on the first one, whichever is meant; and says what
    the build may take of it.
    TensorRT-RTX builds for a compute capability without a GPU, and finishes the work where the engine is loaded.
    """

    library: Library
    sm: int
    gpu: str | None = None
    room: Callable[[], AbstractContextManager[BuildRoom]] | None = field(default=None, compare=False, repr=False)


class EngineTensor(BaseModel):
    """An input or output of an engine; -1 in `shape` is a size that the profiles leave free."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    dtype: str
    shape: tuple[int, ...]


class EngineManifest(Documented, BaseModel):
    """`NAME.engine.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    manifest_version: Literal[3]
    """Version of this schema."""
    library: Library
    """Library that built the engine."""
    library_version: str
    """Its version; engines fit no other."""
    sm: int
    """Compute capability without its dot."""
    gpu: str | None
    """GPU that it was tuned on; null where none was needed."""
    model_sha256: Sha256
    """Hash of the ONNX file."""
    precision: str
    """Precision of most of its weights and activations: `fp32`, `fp16` or `int8`."""
    engine_sha256: Sha256
    """Hash of the engine."""
    shape_hw: ShapeHW
    """Input height and width."""
    batch_ranges: tuple[BatchRange, ...]
    """[smallest, tuned for, largest] batch of each optimization profile."""
    top_k: int | None
    """Most anchors of a frame in the output; null where the engine hands back all."""
    inputs: tuple[EngineTensor, ...]
    """The engine's inputs."""
    outputs: tuple[EngineTensor, ...]
    """The engine's outputs."""
    build_s: float
    """Seconds that the build took."""


def top_k(model: Model) -> int | None:
    """Return how many anchors of a frame an engine of `model` hands back at most; None: its output is as it is."""
    return None if model.head.is_end2end else TOP_K


def engine_path(folder: Path, model: Model, shape_hw: ShapeHW, target: Target) -> Path:
    """Return where an engine is kept: `model-192x320-tensorrt-rtx-sm86.engine`."""
    height, width = shape_hw
    return folder / f"{model.path.stem}-{height}x{width}-{target.library}-sm{target.sm}.engine"


def manifest_path(engine: Path) -> Path:
    """Return the path of the sidecar of `engine`."""
    return engine.with_name(f"{engine.name}.json")


def read_manifest(engine: Path) -> EngineManifest:
    """Return the manifest of `engine` as it is, whether it fits or not.

    Raises:
        DeviceError: it is missing or unreadable.
    """
    path = manifest_path(engine)
    try:
        return EngineManifest.model_validate_json(path.read_bytes())
    except OSError as exc:
        raise DeviceError(f"{path}: cannot be read: {exc.strerror}") from exc
    except ValidationError as exc:
        raise DeviceError(f"{path}: not the manifest of an engine: {exc.error_count()} faults") from exc


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one step: readers never see half of it.

    Raises:
        DeviceError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as exc:
        raise DeviceError(f"{path}: cannot be written: {exc.strerror}") from exc


def check_engine(engine: Path, model: Model, shape_hw: ShapeHW, target: Target, version: str) -> EngineManifest:
    """Return the manifest of an engine that fits all of this.

    Raises:
        DeviceError: the engine or its manifest is missing or unreadable, or it is stale; every difference is named.
    """
    manifest = read_manifest(engine)
    try:
        content = engine.read_bytes()
    except OSError as exc:
        raise DeviceError(f"{exc.filename}: cannot be read: {exc.strerror}") from exc
    pairs = (
        ("engine sha256", hashlib.sha256(content).hexdigest(), manifest.engine_sha256),
        ("model sha256", model.sha256, manifest.model_sha256),
        ("library", str(target.library), str(manifest.library)),
        ("library version", version, manifest.library_version),
        ("compute capability", target.sm, manifest.sm),
        ("GPU", target.gpu, manifest.gpu),
        ("input shape", tuple(shape_hw), manifest.shape_hw),
        ("batch ranges", BATCH_RANGES, manifest.batch_ranges),
        ("top-k", top_k(model), manifest.top_k),
    )
    stale = [f"{what}: expected {wanted}, found {found}" for what, wanted, found in pairs if wanted != found]
    if stale:
        raise DeviceError(f"{engine}: stale engine: {'; '.join(stale)}")
    return manifest
