# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which calibration method ships, by what each finds on validation images."""

from __future__ import annotations

import pytest

from vision_line_compression.quantize.method_choice import MethodTrial, choose_method
from vision_line_compression.quantize.thresholds import Method


def trials(**found: tuple[float | None, int]) -> list[MethodTrial]:
    """Return trials by method: mAP50-95 and misses of 100 boxes."""
    return [
        MethodTrial(method=Method(name), map50_95=score, missed=missed, boxes=100)
        for name, (score, missed) in found.items()
    ]


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        ({"max": (0.70, 9), "mse": (0.71, 20), "entropy": (0.0, 100)}, Method.MSE),
        ({"max": (0.7090, 9), "mse": (0.7105, 20)}, Method.MAX),  # as good as alike, and it misses fewer
        ({"max": (0.71, 9), "percentile": (0.71, 9)}, Method.MAX),
        ({"max": (None, 0), "entropy": (None, 0)}, Method.MAX),  # no true box: nothing speaks against the default
    ],
)
def test_the_best_on_validation_images_ships(found: dict[str, tuple[float | None, int]], chosen: Method) -> None:
    """By mAP50-95; where that is close, by misses."""
    assert choose_method(trials(**found), 40).chosen is chosen


def test_the_report_can_say_what_there_was_to_choose_from() -> None:
    """With the figures of all."""
    words = choose_method(trials(max=(0.7, 9), entropy=(None, 100)), 40).words

    assert "max was chosen by mAP50-95 on 40 images of val: max 0.7000, 9 of 100 missed; entropy unknown, 100" in words
