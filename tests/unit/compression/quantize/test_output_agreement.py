# SPDX-License-Identifier: AGPL-3.0-or-later
"""How far the outputs of two files lie apart: boxes in pixels, scores, angles as angles, and masks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from vision_line.devices.model.tasks import ModelTask
from vision_line.errors import ModelError
from vision_line_compression.quantize.onnx_session import compare_outputs

IMAGES = [np.zeros((3, 8, 8), np.float32)]
#: Two boxes: centre, sides, two scores, and the angle.
ROWS = np.array([[40, 60], [40, 20], [20, 30], [10, 10], [0.9, 0.1], [0.2, 0.7], [0.1, 1.2]], np.float32)


def constant_model(path: Path, rows: NDArray[np.float32], prototypes: NDArray[np.float32] | None = None) -> Path:
    """Write a file whose outputs are `rows` (rows, n) and `prototypes` (32, h, w) whatever it is shown."""
    second = [] if prototypes is None else [prototypes]
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["largest"], keepdims=0),
        helper.make_node("Mul", ["largest", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "rows"], ["output0"]),
        *(helper.make_node("Add", ["nothing", "prototypes"], ["output1"]) for _ in second),
    ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])],
        [
            helper.make_tensor_value_info(f"output{number}", TensorProto.FLOAT, [1, *values.shape])
            for number, values in enumerate([rows, *second])
        ],
        [
            numpy_helper.from_array(np.array(0, np.float32), "zero"),
            numpy_helper.from_array(rows[None], "rows"),
            *(numpy_helper.from_array(values[None], "prototypes") for values in second),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """The rows as they are."""
    return constant_model(tmp_path / "reference.onnx", ROWS)


def turned(folder: Path, *angles: float) -> Path:
    """Write a file whose angles are others."""
    rows = ROWS.copy()
    rows[-1] += np.array(angles, np.float32)
    return constant_model(folder / "turned.onnx", rows)


def test_half_a_turn_is_the_same_box(reference: Path, tmp_path: Path) -> None:
    """Some families say an angle beyond what others can: the box is the same."""
    found = compare_outputs(reference, turned(tmp_path, math.pi, -math.pi), IMAGES, task=ModelTask.OBB, threads=1)

    assert found.largest_angle == pytest.approx(0.0, abs=1e-5)
    assert found.angle_sqnr_db is not None
    assert found.angle_sqnr_db > 100
    assert (found.box_sqnr_db, found.score_sqnr_db) == (math.inf, math.inf)


def test_an_angle_is_measured_as_one_and_not_as_a_score(reference: Path, tmp_path: Path) -> None:
    """Of two boxes one is turned by 3.0, which is 0.14 the other way; the scores are untouched."""
    found = compare_outputs(reference, turned(tmp_path, 3.0, 0.0), IMAGES, task=ModelTask.OBB, threads=1)

    apart = math.pi - 3.0
    assert found.largest_angle == pytest.approx(apart, abs=1e-5)
    assert found.angle_sqnr_db == pytest.approx(10 * math.log10(2 / (2 * math.sin(apart)) ** 2), abs=1e-2)
    assert (found.largest_box_px, found.largest_score) == (0.0, 0.0)


def test_the_last_score_of_upright_boxes_is_no_angle(reference: Path, tmp_path: Path) -> None:
    """Without `rotated` every row behind the box is a score, and nothing is said of angles."""
    found = compare_outputs(reference, turned(tmp_path, 0.5, 0.0), IMAGES, threads=1)

    assert found.largest_score == pytest.approx(0.5)
    assert (found.angle_sqnr_db, found.largest_angle) == (None, None)


def test_likeness_counts_all_parts(reference: Path, tmp_path: Path) -> None:
    """Of two files that differ in a score alike the one with the better angles is the closer one."""
    closer, farther = ROWS.copy(), ROWS.copy()
    closer[0, 0] = farther[0, 0] = 41.0
    closer[4, 0] = farther[4, 0] = 0.8
    closer[-1, 0], farther[-1, 0] = 0.2, 1.0
    paths = [constant_model(tmp_path / f"{number}.onnx", rows) for number, rows in enumerate((closer, farther))]

    likeness = [compare_outputs(reference, path, IMAGES, task=ModelTask.OBB, threads=1).sqnr_db for path in paths]

    assert likeness[0] > likeness[1]


def test_masks_are_compared_as_they_come_out(tmp_path: Path) -> None:
    """Not coefficients by themselves: twice as large ones of prototypes half as large make the same masks."""
    rng = np.random.default_rng(0)
    coefficients = rng.normal(0, 1, (32, 2)).astype(np.float32)
    prototypes = rng.normal(0, 1, (32, 2, 2)).astype(np.float32)
    noise = rng.normal(0, 1e-2, prototypes.shape).astype(np.float32)

    def model(name: str, factor: float, masks: NDArray[np.float32]) -> Path:
        rows = np.concatenate([ROWS[:-1], coefficients * np.float32(factor)])
        return constant_model(tmp_path / f"{name}.onnx", rows, masks)

    reference = model("reference", 1.0, prototypes)
    others = [
        model("same", 2.0, prototypes / np.float32(2)),
        model("near", 1.0, prototypes + noise),
        model("far", 1.0, -prototypes),
    ]
    found = [compare_outputs(reference, other, IMAGES, task=ModelTask.SEGMENT, threads=1) for other in others]

    same, near, far = (one.mask_sqnr_db for one in found)
    assert same is not None
    assert near is not None
    assert far == pytest.approx(-6.02, abs=0.01)
    assert same > 100
    assert 30 < near < 50
    assert found[1].sqnr_db == float("inf")  # boxes and scores are the same
    assert [one.largest_score for one in found] == [0, 0, 0]


def test_an_output_without_an_angle_is_refused(tmp_path: Path) -> None:
    """A box, a score and an angle are six rows at least."""
    short = constant_model(tmp_path / "short.onnx", ROWS[:5])

    with pytest.raises(ModelError, match="expected an output"):
        compare_outputs(short, short, IMAGES, task=ModelTask.OBB, threads=1)
    assert compare_outputs(short, short, IMAGES, threads=1).images == 1
