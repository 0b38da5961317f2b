# SPDX-License-Identifier: AGPL-3.0-or-later
"""Prove an engine: run the proof's inputs through it, and compare with what is right.

Where a bundle has no reference for a variant and shape, and for an ONNX file without bundle, the reference is made on
the spot: the float execution of the same file, on the proof's images or on drawn ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vision_line.devices.model.agreement import Reference, Tolerance, compare, reference_of, weakness
from vision_line.devices.model.heads import HeadOutput, SegmentOutput
from vision_line.devices.model.model import Model, ModelVariant
from vision_line.devices.model.proof import Images, drawn_images, shaped
from vision_line.ports import ShapeHW

#: Takes images (n, h, w, 3), network inputs before the factor 1/255, and returns the raw outputs: one each; of an
#: engine that has several streams n of the first, then n of the next.
RunImages = Callable[[Images], list[HeadOutput]]

#: By how much the same float execution differs at the most on two streams, or later: a share, and in pixels or scores.
_SAME_SHARE, _SAME = 1e-3, 1e-3
#: Begins the reason of a result that is open.
UNPROVEN = "it cannot be proven"

BY_BUNDLE = "the bundle's proof"
BY_FLOAT = "its own float execution"
BY_FIRST = "what it gave when it was opened"


@dataclass(frozen=True, slots=True)
class ProofResult:
    """Whether an engine is right; `by` is what it was compared with, and `why` says what was expected and found.

    `is_open`: there was nothing to tell by, so it is neither right nor wrong, and does not hold.
    """

    holds: bool
    by: str
    why: str
    is_open: bool = False


class Prover:
    """Proves engines of one model."""

    def __init__(self, model: Model, run_exactly: Callable[[ModelVariant, Images], list[HeadOutput]]) -> None:
        """`run_exactly` executes the file of a variant in float32; it is asked only where the bundle does not say."""
        self._model = model
        self._run_exactly = run_exactly
        self._made: dict[tuple[str, ShapeHW], Reference] = {}
        self._at_first: dict[ShapeHW, list[HeadOutput]] = {}  # what engines gave that are the reference themselves

    def has_reference(self, variant: ModelVariant, shape_hw: ShapeHW) -> bool:
        """Whether the bundle says what is right for this variant at this shape."""
        proof = self._model.proof
        return proof is not None and proof.reference(variant.name, shape_hw) is not None

    def prove(self, variant: ModelVariant, shape_hw: ShapeHW, run: RunImages, tolerance: Tolerance) -> ProofResult:
        """Say whether `run`, an engine of `variant` at `shape_hw`, computes rightly.

        Raises:
            ModelError, DeviceError, RunError: as `run` and `run_exactly`.
        """
        model, proof = self._model, self._model.proof
        images = self._images(shape_hw)
        reference, by = None if proof is None else proof.reference(variant.name, shape_hw), BY_BUNDLE
        if reference is None:
            reference, by = self._made_reference(variant, images), BY_FLOAT
            if weak := weakness(reference):
                return ProofResult(holds=False, by=by, why=f"{UNPROVEN}: {weak}", is_open=True)
        outputs = run(images)
        found = [
            compare(reference, model.head, len(model.classes), model.nms_iou, outputs[at : at + len(images)], tolerance)
            for at in range(0, max(len(outputs), 1), len(images))
        ]
        worst = min(found, key=lambda one: (one.holds, one.same_places))
        return ProofResult(worst.holds, by, str(worst))

    def check_itself(self, shape_hw: ShapeHW, run: RunImages) -> ProofResult:
        """Say whether `run`, an engine that is the reference itself, gives the same on all streams as at first.

        Raises:
            RunError: as `run`.
        """
        images = self._images(shape_hw)[:2]
        outputs = run(images)
        first = self._at_first.get(shape_hw, outputs[: len(images)])
        if len(outputs) < len(images):
            return ProofResult(holds=False, by="", why="it gives nothing")
        if not all(_are_same(output, first[at % len(images)]) for at, output in enumerate(outputs)):
            if shape_hw in self._at_first:
                return ProofResult(holds=False, by=BY_FIRST, why="it gives something else than when it was opened")
            return ProofResult(holds=False, by="another stream", why="its streams differ")
        self._at_first[shape_hw] = first
        return ProofResult(holds=True, by="", why="it is the reference itself")

    def _images(self, shape_hw: ShapeHW) -> Images:
        proof = self._model.proof
        return shaped(drawn_images() if proof is None else proof.images, shape_hw)

    def _made_reference(self, variant: ModelVariant, images: Images) -> Reference:
        model, key = self._model, (variant.name, (images.shape[1], images.shape[2]))
        if key not in self._made:
            outputs = self._run_exactly(variant, images)
            self._made[key] = reference_of(model.head, len(model.classes), model.nms_iou, outputs)
        return self._made[key]


def _are_same(output: HeadOutput, other: HeadOutput) -> bool:
    """Whether two outputs are; what is no number in both is the model's own fault, and said with the first frame."""
    if isinstance(output, SegmentOutput) and isinstance(other, SegmentOutput):
        return all(map(_are_same, output, other))
    return np.allclose(output, other, rtol=_SAME_SHARE, atol=_SAME, equal_nan=True)
