# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is said of an event's box: a rotated one has its corners beside the upright box around it."""

from __future__ import annotations

import json

import pytest

from vision_line.outputs.contents import EventDetails, notification_of
from vision_line.records.journal import JournalEntry, Kind


@pytest.mark.parametrize("outline", [None, "[4.0, 1.0, 9.0, 4.0, 6.0, 9.0, 1.0, 6.0]"])
def test_corners_are_said_of_rotated_boxes_alone(outline: str | None) -> None:
    """An upright box has no such key: its messages are as they always were."""
    body = {"event_id": "e1", "x1": 1.0, "y1": 1.0, "x2": 9.0, "y2": 9.0, "width": 90, "height": 90, "outline": outline}
    entry = JournalEntry(5, 1, Kind.EVENT, "e1", 100.0, json.dumps(body))
    content = notification_of(entry, json.loads(entry.body), None, EventDetails()).content

    assert content["x2"] == 9.0
    assert content.get("outline") == (None if outline is None else json.loads(outline))
    assert ("outline" in content) == (outline is not None)
