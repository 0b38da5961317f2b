# SPDX-License-Identifier: AGPL-3.0-or-later
"""The ground-truth file says what was given, and says what is wrong with another file."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.scoring import load_truth

from vision_line.errors import ConfigError
from vision_line.simulator.truth import ClipTruth, DefectTruth, TrueBox, write_truth

TRUTH = ClipTruth(
    clip_id=3,
    seed=9,
    fps=25,
    size_wh=(640, 360),
    speed_px_s=101.5,
    boards=2,
    defects=(DefectTruth(0, 1, "pin-hole", 17.25),),
    frames=((), (TrueBox(0, "pin-hole", (0.0, 10.5, 12.25, 28.0), 0.75),)),
)


def test_a_truth_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Round trip, one JSON object a line: clip, defect, two frames."""
    path = tmp_path / "clip.jsonl"

    write_truth(path, TRUTH)

    assert load_truth(path) == TRUTH
    assert len(path.read_text().splitlines()) == 4


@pytest.mark.parametrize("content", ["", "{}", "no json", '{"record": "clip", "frames": 2}'])
def test_another_file_is_refused_by_name(tmp_path: Path, content: str) -> None:
    """The error names the file."""
    path = tmp_path / "other.jsonl"
    path.write_text(content)

    with pytest.raises(ConfigError, match=r"other\.jsonl"):
        load_truth(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """So is one that is not there."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load_truth(tmp_path / "none.jsonl")
