# SPDX-License-Identifier: AGPL-3.0-or-later
"""Moments as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.errors import ConfigError
from vision_line.records.formats import iso_utc
from vision_line.records.query import parse_moment

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("90s", NOW - 90),
        ("15m", NOW - 900),
        ("1.5h", NOW - 5400),
        ("7d", NOW - 604_800),
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14 22:13:20", NOW),
        ("2023-11-14T23:13:20+01:00", NOW),
        ("2023-11-14", 1_699_920_000.0),
    ],
)
def test_moments_are_read(text: str, expected: float) -> None:
    """Ages count back from now; a time without an offset is UTC."""
    assert parse_moment(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2x", "-2h", "2023-13-01", "12:00"])
def test_other_text_is_refused(text: str) -> None:
    """The message says what is expected and what was found."""
    with pytest.raises(ConfigError, match="expected 2h, 30m, now or an ISO 8601 time"):
        parse_moment(text, NOW)


@given(st.integers(0, 4_000_000_000_000_000))
def test_written_times_can_be_read_again(microseconds: int) -> None:
    """What an export writes is a moment that --since takes."""
    seconds = microseconds / 1e6

    assert abs(parse_moment(iso_utc(seconds), NOW) - seconds) < 2e-6
