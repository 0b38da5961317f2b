# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a PLC counted, beside what was decided here."""

from __future__ import annotations

from vision_line.lanes.counts_check import CountsCheck


def problems(counts: list[tuple[int, int]]) -> list[str]:
    """Compare a pair each 5 s; return what was found wrong."""
    check = CountsCheck("parts")
    found = (check.compare(theirs, ours, 5.0 * number) for number, (theirs, ours) in enumerate(counts))
    return [problem for problem in found if problem]


def test_parts_on_their_way_are_no_difference() -> None:
    """The PLC is a part or two ahead, and wraps around."""
    assert problems([((65500 + number + number % 3) % 65536, number) for number in range(100)]) == []


def test_a_part_that_was_missed_here_is_said_once() -> None:
    counts = [(number + (number > 30) + number % 2, number) for number in range(100)]
    assert problems(counts) == ["the PLC counted 1 more parts than were decided"]


def test_a_part_that_was_missed_there_is_said_once() -> None:
    counts = [(number - 2 * (number > 30), number) for number in range(100)]
    assert problems(counts) == ["the PLC counted 2 fewer parts than were decided"]


def test_a_plc_that_begins_anew_is_no_difference() -> None:
    assert problems([(5000 + number if number < 50 else number - 50, number) for number in range(100)]) == []
