# SPDX-License-Identifier: AGPL-3.0-or-later
"""The run's state in words: whether a camera is inspected, since when it is not, and why."""

from __future__ import annotations

from typing import Any

import pytest
from tests.fakes.live_video import camera_state

from vision_line.desk.live.run_status import no_run_words, run_words
from vision_line.desk.local_time import plant_clock

NOW = 1_795_000_000.0


def words_of(**camera: Any) -> dict[str, Any]:
    snapshot = {"now_utc": NOW, "headline": "fine", "alarms": [], "cameras": [camera_state(**camera)]}
    found = run_words(snapshot)["cameras"][0]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("camera", "inspected", "words"),
    [
        ({}, True, "12.0 inspections a second"),
        ({"not_inspected": "capacity"}, True, "12.0 inspections a second, too few: more came than the device inspects"),
        ({"inspected_age_s": 31.0}, True, "12.0 inspections a second"),  # one that is to be inspected every minute
        (
            {"state": "STALE", "inspecting": False, "inspected_age_s": 31.0, "not_inspected": "camera:STALE"},
            False,
            f"not inspected since {plant_clock().clock(NOW - 31)}: the camera sent nothing",
        ),
        (
            {"not_inspected": "capacity", "inspected_age_s": 31.0},
            False,
            f"not inspected since {plant_clock().clock(NOW - 31)}: more came than the device inspects",
        ),
        ({"inspecting": False, "inspected_age_s": None}, False, "not inspected in this run"),
    ],
)
def test_a_camera_in_words(camera: dict[str, Any], inspected: bool, words: str) -> None:
    found = words_of(**camera)
    assert (found["inspected"], found["words"]) == (inspected, words)


def test_a_state_is_a_word_and_a_sign() -> None:
    """Never a colour alone."""
    assert words_of(state="RECONNECTING", code="REFUSED")["state"] == "■ reconnecting · REFUSED"
    assert words_of()["state"] == "● running"
    assert words_of(state="SOMETHING_NEW")["kind"] == "bad"


def test_no_password_even_if_there_were_one() -> None:
    """The feed has none; whoever wrote its socket might."""
    snapshot = {"now_utc": NOW, "headline": "rtsp://u:geheim@cam", "alarms": ["rtsp://u:geheim@cam"], "cameras": []}
    assert "geheim" not in str(run_words(snapshot))
    assert "geheim" not in str(no_run_words("rtsp://u:geheim@cam"))
