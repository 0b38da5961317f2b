# SPDX-License-Identifier: AGPL-3.0-or-later
"""Boxes and words on pictures: where they belong, inside the picture, in colours that differ in lightness."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vision_line.frames import DefectEvent, Detections, EventPhase, Verdict
from vision_line.records.annotate import (
    VERDICT_COLOURS,
    Mark,
    caption_of,
    draw_marks,
    mark_of,
    marks_of,
    with_caption,
)

EVENT = DefectEvent(
    *("e1", EventPhase.NEW, "cam01", 0, "open", Verdict.WARN, 0.4, 0.47, (10.0, 40.0, 50.0, 60.0), 1, 3),
    *(0.0, 0.0, 0.0, 0.0),
)


def test_an_event_shows_class_score_and_verdict() -> None:
    """The label holds what the operator needs, in the verdict's colour."""
    assert mark_of(EVENT) == Mark((10.0, 40.0, 50.0, 60.0), "open 0.47 warn", VERDICT_COLOURS[Verdict.WARN])


def test_detections_lie_below_events() -> None:
    """Every detection has its box; events come last, hence on top."""
    found = Detections(np.ones((2, 4), np.float32), np.ones(2, np.float32), np.zeros(2, np.int32))
    marks = marks_of(found, [EVENT])

    assert [mark.label for mark in marks] == ["", "", "open 0.47 warn"]


def test_a_box_is_drawn_at_its_place() -> None:
    """Its edge has the mark's colour, its inside is the picture's."""
    image = np.zeros((100, 200, 3), np.uint8)
    draw_marks(image, [mark_of(EVENT)])

    assert tuple(image[50, 10]) == VERDICT_COLOURS[Verdict.WARN]
    assert not image[45:55, 15:45].any()


def test_verdicts_differ_in_lightness() -> None:
    """They can be told apart without colour vision."""
    lightness = sorted(0.114 * b + 0.587 * g + 0.299 * r for b, g, r in VERDICT_COLOURS.values())

    assert min(np.diff(lightness)) > 20


@given(st.tuples(*[st.floats(-1e9, 1e9)] * 4), st.text(max_size=300))
def test_any_box_and_any_words_can_be_drawn(xyxy: tuple[float, float, float, float], label: str) -> None:
    """Boxes far outside and words longer than the picture do no harm."""
    image = np.zeros((48, 64, 3), np.uint8)
    draw_marks(image, [Mark(xyxy, label, (255, 255, 255))])

    assert image.shape == (48, 64, 3)


def test_a_caption_leaves_the_picture_whole() -> None:
    """The strip is added below; nothing of the picture is covered."""
    image = np.full((48, 64, 3), 77, np.uint8)
    captioned = with_caption(image, caption_of("cam01", 1_700_000_000.25, "open"))

    assert np.array_equal(captioned[:48], image)
    assert captioned.shape[0] > 60
    assert caption_of("cam01", 1_700_000_000.25, "open") == "cam01  2023-11-14 22:13:20.250 UTC  open"
