# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is typed or given to `vision-line init`, and what it makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_line.cli.init_cameras import Given, InitOptions, sort_arguments
from vision_line.cli.questions import chosen_numbers


@pytest.mark.parametrize(
    ("answer", "chosen"),
    [
        ("all", [1, 2, 3]),
        ("none", []),
        ("2", [2]),
        ("3, 1 3", [3, 1]),
        ("", None),
        ("0", None),
        ("4", None),
        ("1-2", None),
        ("yes", None),
        ("9" * 5000, None),
        ("²", None),
    ],
)
def test_cameras_are_chosen_by_number(answer: str, chosen: list[int] | None) -> None:
    """Nonsense is asked about again."""
    assert chosen_numbers(answer, 3) == chosen


def test_arguments_are_sorted() -> None:
    """The file by its ending, cameras by their scheme, and addresses."""
    words = [
        "rtsp://10.0.0.1/a.toml",
        "line.toml",
        "10.0.0.2:8080",
        "http://cam/onvif/x",
        "FILE:v.mp4",
        "cam.plant.local",
    ]

    assert sort_arguments(InitOptions(words)) == Given(
        Path("line.toml"),
        ["rtsp://10.0.0.1/a.toml", "FILE:v.mp4"],
        [
            "http://10.0.0.2:8080/onvif/device_service",
            "http://cam/onvif/x",
            "http://cam.plant.local/onvif/device_service",
        ],
    )
