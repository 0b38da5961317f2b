# SPDX-License-Identifier: AGPL-3.0-or-later
"""What of a model decides what it finds: the file alone does not, a bundle has thresholds and variants beside it."""

from __future__ import annotations

from typing import Self

from vision_line.config.models import Frozen
from vision_line.devices.model.heads import HeadKind
from vision_line.devices.model.model import Model
from vision_line.ports import ShapeHW


class ModelFingerprint(Frozen):
    """Two models with the same one find the same. `variants` and `proof` are hashes: they decide what computes."""

    sha256: str
    classes: tuple[str, ...]
    score_threshold: float
    nms_iou: float
    input_shapes_hw: tuple[ShapeHW, ...]
    dynamic: bool
    stride: int
    head: HeadKind
    precision: str
    quantization: str | None
    variants: tuple[str, ...]
    proof: str

    @classmethod
    def of(cls, model: Model) -> Self:
        """Return that of a model."""
        proof = None if model.bundle is None else model.bundle.proof
        return cls(
            sha256=model.sha256,
            classes=model.classes,
            score_threshold=model.score_threshold,
            nms_iou=model.nms_iou,
            input_shapes_hw=model.input_shapes_hw,
            dynamic=model.dynamic,
            stride=model.stride,
            head=model.head,
            precision=model.precision,
            quantization=model.quantization,
            variants=tuple(f"{one.name} {one.sha256}" for one in (*model.variants, *model.gpu_variants)),
            proof="" if proof is None else proof.sha256,
        )

    def differences(self, found: ModelFingerprint) -> str:
        """Return in words what `found` has otherwise than expected here, "" where nothing is. Pure."""
        return "; ".join(
            f"{name}: expected {expected}, found {own}"
            for name in type(self).model_fields
            if (own := getattr(found, name)) != (expected := getattr(self, name))
        )
