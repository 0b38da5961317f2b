# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a result says of rotated boxes, and of upright ones as before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tests.builders import make_detections, make_frame, make_inspection

from vision_line.feed.headers import event_fields, result_header, result_of
from vision_line.frames import DefectEvent, EventPhase, Observation, TrackedObject, Verdict

BOX = (1.0, 1.0, 9.0, 9.0)
OUTLINE = (4.0, 1.0, 9.0, 4.0, 6.0, 9.0, 1.0, 6.004)
SAID = [4.0, 1.0, 9.0, 4.0, 6.0, 9.0, 1.0, 6.0]


def test_a_rotated_box_has_its_corners() -> None:
    """In the boxes of a frame, in its tracks, and in the observations of an event."""
    found = replace(make_detections(BOX), outlines=np.array(OUTLINE, np.float32).reshape(1, 4, 2))
    track = TrackedObject(1, "open", 2, 0.9, BOX, outline=OUTLINE)
    result = result_of(make_inspection(make_frame("cam", 1), found), (), (), (track,), of_keyframe=False)
    header = result_header(result, ["open"])
    event = DefectEvent(
        *("e1", EventPhase.NEW, "cam", 0, "open", Verdict.WARN, 0.4, 0.5, BOX, 1, 3, 0.0, 0.0, 0.0, 0.0),
        last=Observation(2, 0.4, BOX),
        outline=OUTLINE,
    )
    fields = event_fields(event)

    assert [one["outline"] for one in (header["boxes"][0], header["tracks"][0], fields["best"])] == [SAID] * 3
    assert "outline" not in fields["last"]


def test_an_upright_box_has_no_corners() -> None:
    """Its messages are as they always were."""
    result = result_of(make_inspection(make_frame("cam", 1), make_detections(BOX)), (), (), (), of_keyframe=False)
    (box,) = result_header(result, ["open"])["boxes"]

    assert list(box) == ["class", "score", "box", "event_id", "verdict"]
