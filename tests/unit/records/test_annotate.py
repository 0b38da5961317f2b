# SPDX-License-Identifier: AGPL-3.0-or-later
"""Boxes and words on images: where they belong, inside the image, in colours that differ in lightness."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import make_detections

from vision_line.frames import DefectEvent, EventPhase, Verdict
from vision_line.records.annotate import (
    CROP_SHOWN_PX,
    PLAIN_COLOUR,
    VERDICT_COLOURS,
    Mark,
    caption_of,
    crop_around,
    draw_marks,
    enlarged,
    mark_of,
    marks_of,
    with_caption,
)

EVENT = DefectEvent(
    *("e1", EventPhase.NEW, "cam01", 0, "open", Verdict.WARN, 0.4, 0.47, (10.0, 40.0, 50.0, 60.0), 1, 3),
    *(0.0, 0.0, 0.0, 0.0),
)
MARK = mark_of(EVENT, EVENT.best_observation)


def test_an_event_shows_class_score_and_verdict() -> None:
    """The label holds what the operator needs, in the verdict's colour."""
    assert Mark((10.0, 40.0, 50.0, 60.0), "open 0.40 warn", VERDICT_COLOURS[Verdict.WARN]) == MARK


def test_detections_lie_below_events() -> None:
    """Every detection has its box; events come last, hence on top."""
    found = make_detections((1, 1, 1, 1), (1, 1, 1, 1), score=1.0)
    marks = marks_of(found, [MARK])

    assert [mark.label for mark in marks] == ["", "", "open 0.40 warn"]


def test_a_box_is_drawn_around_its_place() -> None:
    """An outline in the mark's colour lies around it; what is inside is the image's."""
    image = np.zeros((100, 200, 3), np.uint8)
    draw_marks(image, [MARK])

    assert tuple(image[50, 9]) == VERDICT_COLOURS[Verdict.WARN]
    assert not image[42:59, 12:49].any()


@given(st.tuples(*[st.integers(0, 255)] * 3), st.sampled_from([*Verdict, None]))
def test_a_mark_is_seen_on_a_board_of_any_colour(board: tuple[int, int, int], verdict: Verdict | None) -> None:
    """Some ring of the outline differs from the board by at least half of all lightness."""
    image = np.empty((100, 200, 3), np.uint8)
    image[:] = board
    colour = PLAIN_COLOUR if verdict is None else VERDICT_COLOURS[verdict]
    draw_marks(image, [Mark((60.0, 40.0, 100.0, 60.0), "", colour)])
    lightness = image @ np.array([0.114, 0.587, 0.299])

    assert abs(lightness[50, 50:60] - lightness[50, 0]).max() > 120


@given(
    st.tuples(st.integers(1, 4000), st.integers(1, 3000)),
    st.tuples(*[st.floats(-50, 4100, width=32)] * 2),
    st.tuples(*[st.floats(0, 900, width=32)] * 2),
)
def test_a_crop_is_a_part_of_the_image_around_the_box(
    size_wh: tuple[int, int], corner: tuple[float, float], box_wh: tuple[float, float]
) -> None:
    """It lies inside the image, holds the box as far as that does, and is not shown larger than asked for."""
    (x1, y1), (w, h) = corner, box_wh
    (left, top, right, bottom), times = crop_around(size_wh, (x1, y1, x1 + w, y1 + h))

    assert 0 <= left < right <= size_wh[0]
    assert 0 <= top < bottom <= size_wh[1]
    assert left <= max(0.0, min(x1, size_wh[0] - 1))
    assert right >= min(size_wh[0], x1 + w) or x1 > size_wh[0]
    assert times == 1 or times * max(right - left, bottom - top) <= CROP_SHOWN_PX


def test_a_crop_shows_the_box_enlarged() -> None:
    """The outline lies around the defect, at the image's place times the factor."""
    image = np.zeros((400, 600, 3), np.uint8)
    image[200:220, 300:330] = (10, 20, 200)
    crop = enlarged(image, Mark((300.0, 200.0, 330.0, 220.0), "words", VERDICT_COLOURS[Verdict.REJECT]))
    (left, top, *_), times = crop_around((600, 400), (300.0, 200.0, 330.0, 220.0))

    assert times == 7
    assert max(crop.shape) == 90 * times
    assert tuple(crop[(210 - top) * times, (315 - left) * times]) == (10, 20, 200)
    assert tuple(crop[(210 - top) * times, (300 - left) * times - 2]) == VERDICT_COLOURS[Verdict.REJECT]


def test_verdicts_differ_in_lightness() -> None:
    """They can be told apart without colour vision."""
    lightness = sorted(0.114 * b + 0.587 * g + 0.299 * r for b, g, r in VERDICT_COLOURS.values())

    assert min(np.diff(lightness)) > 20


@given(st.tuples(*[st.floats(-1e9, 1e9)] * 4), st.text(max_size=300))
def test_any_box_and_any_words_can_be_drawn(xyxy: tuple[float, float, float, float], label: str) -> None:
    """Boxes far outside and words longer than the image do no harm."""
    image = np.zeros((48, 64, 3), np.uint8)
    draw_marks(image, [Mark(xyxy, label, (255, 255, 255))])

    assert image.shape == (48, 64, 3)


def test_a_caption_leaves_the_image_whole() -> None:
    """The strip is added below; nothing of the image is covered."""
    image = np.full((48, 64, 3), 77, np.uint8)
    captioned = with_caption(image, caption_of("cam01", 1_700_000_000.25, "open"))

    assert np.array_equal(captioned[:48], image)
    assert captioned.shape[0] > 60
    assert caption_of("cam01", 1_700_000_000.25, "open") == "cam01  2023-11-14 22:13:20.250 UTC  open"


def test_a_rotated_box_is_drawn_as_one() -> None:
    """Around its four corners, and not around the upright box that holds them; enlarged it is the same."""
    image = np.zeros((100, 100, 3), np.uint8)
    mark = Mark((30.0, 30.0, 70.0, 70.0), "", (0, 0, 255), (50.0, 30.0, 70.0, 50.0, 50.0, 70.0, 30.0, 50.0))
    draw_marks(image, [mark])
    drawn = image.max(axis=2) > 0

    assert not drawn[20:37, 20:37].any()
    assert drawn[28:31, 50].any()
    assert drawn[38:43, 38:43].any()
    assert not drawn[45:56, 45:56].any()

    crop = enlarged(np.zeros((100, 100, 3), np.uint8), mark)
    assert crop.any()
    assert not crop[: len(crop) // 2 - len(crop) // 5, : len(crop) // 2 - len(crop) // 5].any()
