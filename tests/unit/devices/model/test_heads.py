# SPDX-License-Identifier: AGPL-3.0-or-later
"""Raw outputs of both kinds of head become the detections that a plain reading of them gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.devices.model.heads import HeadDecoder, HeadKind, HeadOutput, Output, SegmentOutput, class_floors
from vision_line.devices.model.tasks import ModelTask
from vision_line.errors import RunError


def _raw(n: int, classes: int, seed: int) -> Output:
    random = np.random.default_rng(seed)
    xywh = random.uniform(5, 300, (4, n))
    scores = random.uniform(0, 1, (classes, n)) ** 4
    return np.concatenate([xywh, scores]).astype(np.float32)


@given(st.integers(1, 60), st.integers(1, 5), st.integers(0, 2**32), st.floats(0.0625, 0.9375, width=32))
def test_raw_outputs_without_overlap(n: int, classes: int, seed: int, floor: float) -> None:
    """With suppression out of the way each column above its floor is one detection of its best class."""
    output = _raw(n, classes, seed)
    floors = class_floors(classes, floor)
    expected = []
    for column in output.T:
        best = int(column[4:].argmax())
        if column[4 + best] > floors[best]:
            x, y, width, height = column[:4]
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            expected.append((-column[4 + best], best, *box))

    found = HeadDecoder(HeadKind.YOLOV8, floors, nms_iou=0.9999).decode(output)

    rows = [(-s, c, *b) for s, c, b in zip(found.score, found.class_id, found.xyxy, strict=True)]
    np.testing.assert_allclose(sorted(rows), sorted(expected), rtol=1e-6)
    assert (np.diff(found.score) <= 0).all()


def test_floors_are_kept_for_each_class() -> None:
    """A column counts for its best class alone: below that floor it is gone, not its second best class."""
    output = np.zeros((6, 3), np.float32)
    output[:4] = [[10, 50, 90], [10, 10, 10], [8, 8, 8], [8, 8, 8]]
    output[4:] = [[0.6, 0.4, 0.0], [0.55, 0.0, 0.4]]

    found = HeadDecoder(HeadKind.YOLOV8, np.array([0.7, 0.3], np.float32), 0.5).decode(output)

    assert (found.class_id.tolist(), found.xyxy.tolist()) == ([1], [[86, 6, 94, 14]])


@pytest.mark.parametrize("kind", [HeadKind.YOLOV8, HeadKind.END2END])
@pytest.mark.parametrize("turned", [(-1, 1), (1, -1), (-1, -1)])
@given(n=st.integers(1, 60), seed=st.integers(0, 2**32))
def test_edges_the_wrong_way_round_are_put_in_order(kind: HeadKind, turned: tuple[int, int], n: int, seed: int) -> None:
    """A box is what lies between its edges: it is found, and covers no more than that."""
    output = _raw(n, 3, seed)
    swapped = output.copy()
    swapped[2:4, ::2] *= np.array(turned, np.float32)[:, None]
    decoder = HeadDecoder(kind, class_floors(3, 0.1), 0.5)

    both = [decoder.decode(each if kind is HeadKind.YOLOV8 else _listed(each)) for each in (swapped, output)]

    assert both[0].xyxy.tolist() == both[1].xyxy.tolist()
    assert (both[0].score.tolist(), both[0].class_id.tolist()) == (both[1].score.tolist(), both[1].class_id.tolist())


def _listed(raw: Output) -> Output:
    """Return columns of sizes and three scores as the rows of a head that has nothing left to suppress."""
    xywh, scores = raw[:4], raw[4:]
    corners = np.concatenate([xywh[:2] - xywh[2:] / 2, xywh[:2] + xywh[2:] / 2])
    return np.concatenate([corners, scores.max(axis=0)[None], scores.argmax(axis=0)[None]]).astype(np.float32).T


def test_a_box_without_extent_is_none() -> None:
    """One that lies nowhere covers nothing either."""
    output = np.array([[10, 10], [10, 10], [0, 8], [8, 8], [0.9, 0.8]], np.float32)

    assert HeadDecoder(HeadKind.YOLOV8, class_floors(1, 0.1), 0.5).decode(output).xyxy.tolist() == [[6, 6, 14, 14]]


def test_end_to_end_outputs_are_only_filtered() -> None:
    """Rows above the floor come back as they are, highest score first; overlaps stay, padding rows go."""
    output = np.array(
        [[0, 0, 10, 10, 0.4, 1], [0, 0, 10, 10, 0.9, 1], [1, 1, 2, 2, 0.2, 0], [0, 0, 0, 0, 0, 0]], np.float32
    )

    found = HeadDecoder(HeadKind.END2END, class_floors(2, 0.25), 0.5).decode(output)

    assert found.score.tolist() == pytest.approx([0.9, 0.4])
    assert found.class_id.tolist() == [1, 1]
    assert found.xyxy.tolist() == [[0, 0, 10, 10], [0, 0, 10, 10]]


def whole(kind: HeadKind, places: Output) -> HeadOutput:
    """Return what a network puts out for a frame: of a segmentation model prototypes too."""
    return SegmentOutput(places, np.zeros((32, 4, 4), np.float32)) if kind.task is ModelTask.SEGMENT else places


@pytest.mark.parametrize("kind", list(HeadKind))
def test_at_most_so_many_detections(kind: HeadKind) -> None:
    """The best `max_detections` are kept."""
    if not kind.is_end2end:
        output = np.zeros((kind.rows(1), 50), np.float32)
        output[:4] = np.stack([np.arange(50) * 20, np.zeros(50), np.full(50, 5), np.full(50, 5)])
        output[4] = np.linspace(0.5, 0.9, 50)
    else:
        output = np.zeros((50, kind.rows(1)), np.float32)
        output[:, 2:4], output[:, 4] = 5, np.linspace(0.5, 0.9, 50)

    found = HeadDecoder(kind, class_floors(1, 0.25), 0.5, max_detections=7).decode(whole(kind, output))

    assert len(found) == 7
    assert found.score.min() == pytest.approx(np.linspace(0.5, 0.9, 50)[-7])


@pytest.mark.parametrize("kind", list(HeadKind))
def test_a_crowd_of_one_class_hides_no_other(kind: HeadKind) -> None:
    """Where there are more than are taken, each class has its best."""
    score = np.concatenate([np.linspace(0.8, 0.9, 48), [0.3, 0.4]]).astype(np.float32)
    if not kind.is_end2end:
        output = np.zeros((kind.rows(2), 50), np.float32)
        output[:4] = np.stack([np.arange(50) * 20, np.zeros(50), np.full(50, 5), np.full(50, 5)])
        output[4, :48], output[5, 48:] = score[:48], score[48:]
    else:
        output = np.zeros((50, kind.rows(2)), np.float32)
        output[:, 2:4], output[:, 4], output[48:, 5] = 5, score, 1

    found = HeadDecoder(kind, class_floors(2, 0.25), 0.5, max_detections=7).decode(whole(kind, output))

    assert found.class_id.tolist() == [0] * 5 + [1] * 2
    assert found.score.tolist() == pytest.approx([*np.linspace(0.8, 0.9, 48)[:-6:-1], 0.4, 0.3])


@pytest.mark.parametrize("kind", list(HeadKind))
def test_a_broken_engine_is_not_a_good_part(kind: HeadKind) -> None:
    """Scores that are not numbers end the run; they would otherwise count as nothing found."""
    size = kind.rows(1)
    output = np.full((6, size) if kind.is_end2end else (size, 6), np.nan, np.float32)

    with pytest.raises(RunError, match="not numbers"):
        HeadDecoder(kind, class_floors(1, 0.25), 0.5).decode(whole(kind, output))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", list(HeadKind))
def test_boxes_that_are_not_numbers_do_not_vanish(kind: HeadKind, value: float) -> None:
    """A box that counts must lie somewhere: it would otherwise be taken for one in the padding, and be gone."""
    output = np.full((7, 7), 0.5, np.float32)[:, : kind.rows(2) if kind.is_end2end else 7]
    output[:, 0] = value
    if not kind.is_end2end:
        output = output[: kind.rows(2)]
        output[4:] = 0.5

    with pytest.raises(RunError, match="not numbers"):
        HeadDecoder(kind, class_floors(2, 0.25), 0.5).decode(whole(kind, output))


def test_boxes_that_do_not_count_may_be_anything() -> None:
    """What lies below the floor is not looked at."""
    output = np.full((6, 6), np.nan, np.float32)
    output[4:] = 0.1
    assert len(HeadDecoder(HeadKind.YOLOV8, class_floors(2, 0.25), 0.5).decode(output)) == 0

    output = np.full((6, 6), np.nan, np.float32)
    output[:, 4:] = 0.1
    assert len(HeadDecoder(HeadKind.END2END, class_floors(2, 0.25), 0.5).decode(output)) == 0


def test_classes_that_are_not_numbers_are_no_class() -> None:
    """An end-to-end head's class is a number too."""
    output = np.full((6, 6), 0.5, np.float32)
    output[2, 5] = np.nan

    with pytest.raises(RunError, match="not numbers"):
        HeadDecoder(HeadKind.END2END, class_floors(2, 0.25), 0.5).decode(output)


@pytest.mark.parametrize("kind", list(HeadKind))
def test_detections_do_not_borrow_the_engines_memory(kind: HeadKind) -> None:
    """The engine writes its next output over this one; what was found stays."""
    output = np.full((kind.rows(2),) * 2, 0.5, np.float32)
    found = HeadDecoder(kind, class_floors(2, 0.25), 0.5).decode(whole(kind, output))
    before = found.xyxy.tolist(), found.score.tolist()

    output[:] = 0

    assert (found.xyxy.tolist(), found.score.tolist()) == before


def test_a_floor_for_another_number_of_classes_is_refused() -> None:
    """Floors are one for all or one for each."""
    assert class_floors(3, 0.5).tolist() == [0.5, 0.5, 0.5]
    with pytest.raises(ValueError, match="shape"):
        class_floors(3, np.array([0.1, 0.2], np.float32))
