# SPDX-License-Identifier: AGPL-3.0-or-later
"""Input shapes follow the cameras' aspect ratios and stay few."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.devices.model.bundle import Bundle
from vision_line.devices.model.heads import HeadKind
from vision_line.devices.model.model import Model, ModelVariant
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.devices.preprocessing.shapes import closest_shape, plan_input_shapes
from vision_line.ports import ShapeHW

EVALUATED: tuple[ShapeHW, ...] = ((192, 320), (256, 320), (320, 192), (320, 320))

sizes = st.tuples(st.integers(16, 4096), st.integers(16, 4096))


def _bundle(shapes: tuple[ShapeHW, ...]) -> Bundle:
    document = {
        "bundle_version": 1,
        "name": "m",
        "task": "detect",
        "classes": ["a"],
        "stride": 32,
        "head": "yolov8",
        "model": {
            "file": "m.onnx",
            "sha256": "0" * 64,
            "precision": "fp32",
            "input": {"name": "images", "dynamic": True},
        },
        "input_shapes_hw": shapes,
        "preprocessing": {"definition": 1},
        "thresholds": {"score": 0.25, "nms_iou": 0.5},
    }
    return Bundle.model_validate(document)


def _model(shapes: tuple[ShapeHW, ...], *, dynamic: bool = True, bundle: Bundle | None = None) -> Model:
    return Model(
        name="m",
        path=Path("m.onnx"),
        sha256="0" * 64,
        precision="fp32",
        classes=("a",),
        stride=32,
        head=HeadKind.YOLOV8,
        input_name="images",
        input_shapes_hw=shapes,
        dynamic=dynamic,
        score_threshold=0.25,
        nms_iou=0.7,
        bundle=bundle,
        variants=(ModelVariant("fp32", Path("m.onnx")),),
    )


BUNDLED = _model(EVALUATED, bundle=_bundle(EVALUATED))
EXPORTED = _model(((320, 320),))


@pytest.mark.parametrize(
    ("size_wh", "shape"),
    [((640, 360), (192, 320)), ((640, 480), (256, 320)), ((1080, 1920), (320, 192)), ((800, 800), (320, 320))],
)
def test_each_aspect_ratio_has_its_shape(size_wh: tuple[int, int], shape: ShapeHW) -> None:
    """16:9, 4:3, portrait and square frames get the evaluated shape that fits them."""
    assert closest_shape(size_wh, EVALUATED) == shape
    assert plan_input_shapes(BUNDLED, [size_wh] * 16) == (shape,)


def test_a_model_without_bundle_gets_rectangles() -> None:
    """The longer side is the exported one, the other the next multiple of the stride."""
    cameras = [(640, 360)] * 3 + [(640, 480), (720, 1280)]

    assert set(plan_input_shapes(EXPORTED, cameras)) == {(192, 320), (256, 320), (320, 192)}
    assert plan_input_shapes(EXPORTED, cameras[:3]) == ((192, 320),)


def test_a_static_model_runs_as_exported() -> None:
    """Its one shape serves all cameras."""
    model = _model(((320, 320),), dynamic=False)

    assert plan_input_shapes(model, [(640, 360), (360, 640)]) == ((320, 320),)


def test_unknown_cameras_are_taken_for_the_usual_ones() -> None:
    """Before a camera has shown a frame: 16:9, 4:3 and portrait."""
    assert plan_input_shapes(BUNDLED, []) == ((192, 320), (256, 320), (320, 192))


def test_few_shapes_serve_the_many_best() -> None:
    """Where shapes are short the frequent aspect ratios get theirs."""
    cameras = [(640, 360)] * 12 + [(640, 480)] * 3 + [(360, 640)]

    assert plan_input_shapes(BUNDLED, cameras, limit=2) == ((192, 320), (256, 320))
    assert plan_input_shapes(BUNDLED, cameras, limit=1) == ((192, 320),)


@given(st.lists(sizes, max_size=40), st.integers(1, 3), st.sampled_from([BUNDLED, EXPORTED]))
def test_plans_are_bounded_and_valid(cameras: list[tuple[int, int]], limit: int, model: Model) -> None:
    """At most `limit` shapes, each allowed, each used, and none that wastes more than the square would."""
    shapes = plan_input_shapes(model, cameras, limit)

    assert 1 <= len(shapes) <= limit
    assert len(set(shapes)) == len(shapes)
    assert all(side % 32 == 0 for shape in shapes for side in shape)
    if model is BUNDLED:
        assert set(shapes) <= set(EVALUATED)
    assert all(Letterbox(size, closest_shape(size, shapes)).waste < 1 for size in cameras)
    assert not cameras or {closest_shape(size, shapes) for size in cameras} == set(shapes)
