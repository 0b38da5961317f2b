# SPDX-License-Identifier: AGPL-3.0-or-later
"""The progress of stages and engines: a bar on a terminal, whole lines elsewhere, always on standard error."""

from __future__ import annotations

import pytest

from vision_line_compression.progress import ProgressDisplay


def test_without_a_terminal_there_are_whole_lines_only(capsys: pytest.CaptureFixture[str]) -> None:
    """One for each engine and stage that is done."""
    screen = ProgressDisplay()
    with screen.engine("engine 1 of 1") as engine, screen.stage("plan") as stage:
        engine("Timing graph nodes", 3, 12)
        stage(1, 2)

    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "plan: done in 0 s\nengine 1 of 1: done in 0 s\n"


def test_without_a_terminal_there_is_a_line_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    """With what is left, as fast as this run was: an interrupted training goes on in the middle."""
    now = 0.0
    screen = ProgressDisplay(lambda: now)
    with screen.stage("recover") as report:
        for second in range(241):
            now = float(second)
            report(100 + second, 1000)
    with screen.stage("plan") as report:
        now = 330.0
        report(7, 0)  # nobody knows of how many

    assert capsys.readouterr().err.splitlines() == [
        "recover: 160 of 1000, 14 min left",
        "recover: 220 of 1000, 13 min left",
        "recover: 280 of 1000, 12 min left",
        "recover: 340 of 1000, 11 min left",
        "recover: done in 240 s",
        "plan: 7",
        "plan: done in 90 s",
    ]


def test_a_terminal_shows_the_phase_and_its_steps(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Phases begin and end inside each other, so each has steps of its own."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    screen = ProgressDisplay()
    with screen.engine("engine 1 of 1: 64x96 SM 86") as report:
        report("Timing graph nodes", 3, 12)

    shown = capsys.readouterr().err
    assert "engine 1 of 1: 64x96 SM 86: Timing graph nodes" in shown
    assert " 3/12" in shown
