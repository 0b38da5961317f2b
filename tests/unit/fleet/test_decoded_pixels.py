# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a plan may count on of a camera's pixels: neither its pauses nor the burst after one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vision_line.fleet.decoded_pixels import LESS_AFTER_S, SAME_PERCENT, STEADY_S, DecodedPixels

HD = 1920 * 1080 * 25.0


def held(pixels: DecodedPixels, rate: float, since_s: float, seconds: float) -> float:
    """Note a steady rate for so long, each second; return when that ends."""
    for second in range(int(seconds) + 1):
        pixels.note(rate, since_s + second)
    return since_s + seconds + 1


def test_a_rate_is_known_once_it_holds() -> None:
    """Not after a second."""
    pixels = DecodedPixels()
    now_s = held(pixels, HD, 100.0, STEADY_S / 2)
    assert pixels.a_second == 0

    held(pixels, HD, now_s, STEADY_S)
    assert pixels.a_second == HD


def test_neither_a_pause_nor_the_burst_after_it_counts() -> None:
    """A camera that is away for minutes still needs what it needed."""
    pixels = DecodedPixels()
    now_s = held(pixels, HD, 0.0, 60.0)
    now_s = held(pixels, 0.0, now_s, LESS_AFTER_S / 2)
    now_s = held(pixels, 4 * HD, now_s, STEADY_S / 4)
    held(pixels, HD, now_s, 60.0)

    assert pixels.a_second == HD


def test_a_camera_that_sends_less_for_good_is_believed() -> None:
    """It was set to another size."""
    pixels = DecodedPixels()
    now_s = held(pixels, HD, 0.0, 60.0)
    held(pixels, HD / 4, now_s, LESS_AFTER_S + 2 * STEADY_S)

    assert pixels.a_second == HD / 4


@given(st.lists(st.floats(0.97, 1.03), min_size=60, max_size=200))
def test_a_rate_that_wavers_is_one_rate(shares: list[float]) -> None:
    """Each other rate would be another question to the planner."""
    pixels, known = DecodedPixels(), set[int]()
    for second, share in enumerate(shares):
        pixels.note(HD * share, float(second))
        known.add(pixels.a_second)

    assert len(known - {0}) == 1
    assert abs(max(known) - HD) <= HD * SAME_PERCENT / 100
