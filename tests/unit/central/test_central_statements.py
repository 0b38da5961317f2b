# SPDX-License-Identifier: AGPL-3.0-or-later
"""The desk's statements as psycopg takes them, and rows as SQLite gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from vision_line.central.central_records import CentralRow
from vision_line.central.central_statements import translated


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("SELECT 1 WHERE a = ? AND b IN (?, ?)", "SELECT 1 WHERE a = %(p0)s AND b IN (%(p1)s, %(p2)s)"),
        ("SELECT '?' WHERE key LIKE 'audit/%' AND n = ?", "SELECT '?' WHERE key LIKE 'audit/%%' AND n = %(p0)s"),
        ("SELECT 'it''s ?' || ?", "SELECT 'it''s ?' || %(p0)s"),
        ("SELECT a % 2 FROM t INDEXED BY t_by_a WHERE a > ?", "SELECT a %% 2 FROM t WHERE a > %(p0)s"),
        ("SELECT 't.camera = ?' FROM t", "SELECT 't.camera = ?' FROM t"),
    ],
)
def test_only_what_stands_outside_of_text_is_a_parameter(asked: str, sent: str) -> None:
    assert translated(asked) == sent


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (
            "a = ? AND t.camera = ? AND b = ?",
            "a = %(p0)s AND (t.camera IN (%(p1)s) AND t.own_camera IN (split_part(%(p1)s, ':', 2))"
            " AND t.box IN (split_part(%(p1)s, ':', 1))) AND b = %(p2)s",
        ),
        (
            "t.name IN (?, ?)",
            "(t.name IN (%(p0)s, %(p1)s) AND t.own_camera IN (split_part(%(p0)s, ':', 2), split_part(%(p1)s, ':', 2))"
            " AND t.box IN (split_part(%(p0)s, ':', 1), split_part(%(p1)s, ':', 1)))",
        ),
        (
            "s.run = t.run AND s.camera = t.name ORDER BY 1",
            "s.run = t.run AND (s.camera = t.name AND s.own_camera = t.own_camera AND s.box = t.box) ORDER BY 1",
        ),
        (
            "t.lane = ?",
            "(t.lane IN (%(p0)s) AND t.own_lane IN (split_part(%(p0)s, ':', 2))"
            " AND t.box IN (split_part(%(p0)s, ':', 1)))",
        ),
        ("t.camera IN (SELECT value FROM json_each(?))", "t.camera IN (SELECT value FROM json_each(%(p0)s))"),
    ],
)
def test_rows_of_a_camera_are_of_its_box_and_its_own_name_too(asked: str, sent: str) -> None:
    """Indexes know these, and not what the camera is called among all."""
    assert translated(asked) == sent


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("NOT any_challenge()", "NOT EXISTS (SELECT 1 FROM desk.challenge_windows challenge)"),
        (
            "NOT is_challenge(t.camera, t.seen_utc)",
            "NOT EXISTS (SELECT 1 FROM desk.challenge_windows challenge WHERE challenge.camera = t.camera"
            " AND challenge.from_utc <= t.seen_utc AND challenge.to_utc > t.seen_utc)",
        ),
        (
            "challenge_at(t.lane, t.triggered_utc)",
            "EXISTS (SELECT 1 FROM desk.challenge_windows challenge WHERE split_part(challenge.camera, ':', 1)"
            " = split_part(t.lane, ':', 1) AND challenge.from_utc <= t.triggered_utc + 600.0"
            " AND challenge.to_utc > t.triggered_utc - 600.0)",
        ),
        ("is_challenge(camera, seen_utc)", "is_challenge(camera, seen_utc)"),  # these would be the challenge's own
    ],
)
def test_questions_about_challenges_are_said_as_such(asked: str, sent: str) -> None:
    assert translated(asked) == sent


def test_a_row_is_asked_by_place_and_by_name() -> None:
    """As one of SQLite, also as a whole."""

    class Row(CentralRow):
        places: ClassVar[Mapping[str, int]] = {"camera": 0, "hits": 1}

    row = Row(("hall-1:cam01", 9))
    camera, hits = row
    assert (row[0], row["hits"], dict(row)) == (camera, hits, {"camera": "hall-1:cam01", "hits": 9})
