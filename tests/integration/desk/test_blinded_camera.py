# SPDX-License-Identifier: AGPL-3.0-or-later
"""Suspiciously low, end to end: a camera with 12 events an hour, an approved baseline, and then a blind model.

The records are written by the program's own parts over made-up time; a person approves by the desk's page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.fakes.compressed_line import CompressedLine
from tests.fakes.desk import ORIGIN, DeskUnderTest, desk_over

from vision_line.desk.inspected.watched_baselines import read_watched_baselines
from vision_line.records.journal_check import Expected
from vision_line.records.verification import verify

HOUR_S = 3600.0
RATE_PER_H = 12.0
#: A full hour.
BEGINS_UTC = 1_764_460_800.0


class BlindedLine:
    """The line, what passes over it, and the desk over its records."""

    def __init__(self, records: Path) -> None:
        self.line = CompressedLine(records, BEGINS_UTC)
        self.chance = np.random.default_rng(12)

    def go_on(self, hours: float, *, blind: bool = False, dark: bool = False) -> None:
        until_utc = self.line.utc + hours * HOUR_S
        parts = self.chance.uniform(self.line.utc, until_utc, self.chance.poisson(RATE_PER_H * hours)).tolist()
        self.line.go_on(until_utc, parts, blind=blind, dark=dark)


@pytest.fixture
def blinded(tmp_path: Path) -> Iterator[BlindedLine]:
    found = BlindedLine(tmp_path)
    found.go_on(30)
    yield found
    found.line.close()


def approve(desk: DeskUnderTest, asked: str) -> None:
    """Approve as the page does."""
    shown = desk.client.get(f"/charts/baseline?{asked}").text
    fields = dict(re.findall(r'<input type="hidden" name="(seen)" value="([^"]+)">', shown))
    action = re.search(r'method="post" action="(/charts/baseline\?[^"]+)"', shown)
    assert action is not None, shown
    answer = desk.client.post(action[1].replace("&amp;", "&"), data=fields, headers=ORIGIN, follow_redirects=False)
    assert answer.status_code == 303, answer.text


def called(desk: DeskUnderTest, records: Path) -> bool:
    """Whether the alarm stands, on all pages, in the JSON and for the run alike."""
    (watched,) = desk.client.get("/api/v1/silences").json()["watched"]
    (known,) = read_watched_baselines(records)
    assert (known.name, known.is_silent) == ("camera cam01, all classes", watched["is_called"])
    assert known.expected == watched["shortage"]["expected"]
    for page in ("/", "/charts"):
        assert ("Suspiciously low: camera cam01" in desk.client.get(page).text) is watched["is_called"]
    return bool(watched["is_called"])


def test_a_blinded_camera_is_called_within_40_inspected_minutes(blinded: BlindedLine, tmp_path: Path) -> None:
    """Not before half an hour; time without an inspection does not count; with the next event the alarm is over."""
    with desk_over(tmp_path) as desk:
        desk.sign_in()
        approve(desk, "camera=cam01&period=hour&days=2")
        blinded.go_on(5)
        assert not called(desk, tmp_path)
        blinded.line.go_on(blinded.line.utc + 60.0, [blinded.line.utc])
        blinded.go_on(0.5, blind=True)
        assert not called(desk, tmp_path)
        blinded.go_on(2, dark=True)
        assert not called(desk, tmp_path)
        blinded.go_on(9 / 60, blind=True)
        assert called(desk, tmp_path)
        (found,) = desk.client.get("/api/v1/silences").json()["watched"]
        assert found["inspected_s"] == pytest.approx(40 * 60.0, abs=20.0)
        assert found["shortage"]["expected"] == pytest.approx(RATE_PER_H * 40 / 60, rel=0.2)
        assert 1.0 < found["false_a_month"] < 15.0
        blinded.line.go_on(blinded.line.utc + 60.0, [blinded.line.utc])
        assert not called(desk, tmp_path)
    verify(tmp_path, Expected(), lambda _done, _total: None, images=False)
