# SPDX-License-Identifier: AGPL-3.0-or-later
"""An engine is proven on each of its streams: one that is wrong alone would inspect every other frame wrongly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vision_line.devices.model.agreement import Tolerance
from vision_line.devices.model.heads import HeadKind, HeadOutput
from vision_line.devices.model.model import Model, ModelVariant
from vision_line.devices.model.proof import Images
from vision_line.devices.proof.proving import Prover, RunImages

SHAPE = (64, 64)
VARIANT = ModelVariant("fp32", Path("m.onnx"))


def outputs_of(images: Images, seed: int = 0) -> list[HeadOutput]:
    """Return what a right engine gives: 40 places an image, (4 + 1, n)."""
    found: list[HeadOutput] = []
    for number in range(len(images)):
        rng = np.random.default_rng(100 * seed + number)
        boxes = np.concatenate([rng.uniform(8, 56, (2, 40)), rng.uniform(6, 12, (2, 40))])
        found.append(np.concatenate([boxes, rng.uniform(0.05, 0.95, (1, 40))]).astype(np.float32))
    return found


def prover() -> Prover:
    """Return one of a model without a proof of its own."""
    model = Model(
        name="m", path=Path("m.onnx"), sha256="0" * 64, precision="int8", classes=("open",), stride=32,
        head=HeadKind.YOLOV8, input_name="images", input_shapes_hw=(SHAPE,), dynamic=True, score_threshold=0.25,
        nms_iou=0.7, bundle=None, variants=(VARIANT,),
    )  # fmt: skip
    return Prover(model, lambda _, images: outputs_of(images))


def streams(*seeds: int) -> RunImages:
    """Return an engine with a stream for each seed; that of 0 is right."""
    return lambda images: [output for seed in seeds for output in outputs_of(images, seed)]


@pytest.mark.parametrize(
    ("seeds", "holds"), [((0,), True), ((0, 0, 0), True), ((0, 1), False), ((1, 0), False), ((0, 0, 1, 0), False)]
)
def test_each_stream_must_be_right(seeds: tuple[int, ...], *, holds: bool) -> None:
    """Also where nothing but the engine itself says what is right: then its streams must agree."""
    assert prover().prove(VARIANT, SHAPE, streams(*seeds), Tolerance()).holds is holds
    assert prover().check_itself(SHAPE, streams(*seeds)).holds is holds


def test_no_numbers_of_one_stream_alone_are_its_fault() -> None:
    """Those of each stream are the model's own: its first frame says so."""
    none: list[HeadOutput] = [np.full_like(output, np.nan) for output in outputs_of(np.zeros((2, *SHAPE, 3), np.uint8))]
    assert prover().check_itself(SHAPE, lambda _: none * 2).holds
    assert not prover().check_itself(SHAPE, lambda images: outputs_of(images) + none).holds


def test_an_engine_that_is_its_own_reference_must_give_later_what_it_gave_at_first() -> None:
    """All of its streams read the same weights: memory that fails turns them wrong together."""
    one = prover()
    assert one.check_itself(SHAPE, streams(0, 0)).holds
    assert one.check_itself(SHAPE, streams(0, 0)).holds
    result = one.check_itself(SHAPE, streams(1, 1))
    assert (result.holds, result.by) == (False, "what it gave when it was opened")
    assert one.check_itself((32, 32), streams(1, 1)).holds  # at another shape it was not open yet


def test_an_engine_that_gives_nothing_is_not_right() -> None:
    """Nothing was compared."""
    assert not prover().check_itself(SHAPE, lambda _: []).holds
    with pytest.raises(ValueError, match=r"shorter|longer"):
        prover().prove(VARIANT, SHAPE, lambda _: [], Tolerance())
