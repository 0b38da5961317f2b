# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which variant of a bundle's model its engine has: INT8, or the FP16 variant where a GPU was faster with it.

The bundle's file is the model. Where its engines were built on a GPU, both variants were, and `NAME.choice.json` beside
them says which one is kept, and why the other is not. Times belong to one GPU and one version of its library, so the
choice does too.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from vision_line.devices.model.model import Model
from vision_line.devices.tensorrt.engine_manifest import Library, Sha256, Target, engine_path, write_whole
from vision_line.documented import Documented
from vision_line.ports import ShapeHW

logger = logging.getLogger(__name__)

CHOICE_VERSION = 1

Precision = Literal["int8", "fp16"]


class PrecisionVariant(Documented, BaseModel):
    """One variant of the model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    precision: Precision
    """What its convolutions compute in."""
    model_sha256: Sha256
    """Hash of the ONNX file that its engine was built from."""
    passed: bool | None
    """Whether it passed the accuracy gates; null where that is not known."""
    judged_by: str
    """What `passed` goes by, in words."""
    latency_ms: dict[int, float]
    """Median milliseconds of a batch by its size, as this GPU measured them; empty where it was not asked."""
    fault: str = ""
    """Why its engine cannot be used, in words: it cannot be built, or its results differ; empty where it can."""
    proven_by: str = ""
    """What its engine was proven by on this GPU, in words; empty where it was not."""
    lost: str = ""
    """Why it is not the one that is kept, in words; empty for the one that is."""


class EngineChoice(Documented, BaseModel):
    """`NAME.choice.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    choice_version: Literal[1]
    """Version of this schema."""
    library: Library
    """Library that built and ran the engines."""
    library_version: str
    """Its version."""
    sm: int
    """Compute capability without its dot."""
    gpu: str | None
    """GPU that timed them."""
    shape_hw: ShapeHW
    """Input height and width."""
    bundle_sha256: Sha256
    """Hash of the bundle's model."""
    batch: int
    """Size of the batch whose time decides."""
    forms: tuple[PrecisionVariant, ...]
    """What there was to choose from."""
    kept: Precision
    """The variant that runs."""
    reason: str
    """Why, in words."""

    def variant(self, precision: Precision) -> PrecisionVariant | None:
        """Return the variant with `precision`."""
        return next((variant for variant in self.forms if variant.precision == precision), None)


def choice_path(folder: Path, model: Model, shape_hw: ShapeHW, target: Target) -> Path:
    """Return where the choice is kept: `model-192x320-tensorrt-sm86.choice.json`."""
    return engine_path(folder, model, shape_hw, target).with_suffix(".choice.json")


def variant_of(model: Model, precision: Precision, sha256: str) -> Model:
    """Return `model` as its variant of another `precision`, whose file has `sha256`; engines are named so.

    The file may be gone, where the bundle has none. The variant of the model's own precision is the model itself.
    """
    if precision == model.precision:
        return model
    own = next((one for one in model.gpu_variants if one.sha256 == sha256), None)
    if own is not None:
        return replace(model, path=own.path, sha256=sha256, precision=precision)
    path = model.path.with_name(f"{model.path.stem}-{precision}{model.path.suffix}")
    return replace(model, path=path, sha256=sha256, precision=precision)


def kept_variant(folder: Path, model: Model, shape_hw: ShapeHW, target: Target, version: str) -> Model:
    """Return the variant of `model` that the choice in `folder` keeps; the model itself where no choice fits."""
    path = choice_path(folder, model, shape_hw, target)
    try:
        choice = EngineChoice.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return model
    except (OSError, ValidationError) as exc:
        logger.warning(
            "%s: the chosen precision cannot be read, using %s: %s", path, model.precision, str(exc).partition("\n")[0]
        )
        return model
    expected = (model.sha256, target.library, version, target.sm, target.gpu, tuple(shape_hw))
    found = (choice.bundle_sha256, choice.library, choice.library_version, choice.sm, choice.gpu, choice.shape_hw)
    variant = choice.variant(choice.kept)
    if expected != found or variant is None:
        logger.warning(
            "%s: chosen for another model or GPU (expected %s, found %s), using %s",
            path,
            expected,
            found,
            model.precision,
        )
        return model
    return variant_of(model, choice.kept, variant.model_sha256)


def write_choice(path: Path, choice: EngineChoice) -> None:
    """Write a choice, whole or not at all.

    Raises:
        DeviceError: it cannot be written.
    """
    write_whole(path, f"{choice.model_dump_json(indent=2)}\n".encode())
