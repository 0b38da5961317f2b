# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is counted of inspections of defects that cross a view, on a drawn truth with detections made for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.defect_passes import FRAMES, Inspected, correlation, inspections_of_passes, of_inspections, scored
from tests.builders import scored_detections

from vision_line.config.models import StreamSettings
from vision_line.devices.model.model import open_model
from vision_line.frames import Detections
from vision_line.simulator.clips import Clip
from vision_line.simulator.truth import ClipTruth, DefectTruth, TrueBox

CLIP = Clip("cam01", 1, 25, FRAMES, Path("none.h264"), Path("none.jsonl"))
FIRST, LAST = 100, 299  # frames that show the defect
WRONG = (600.0, 20.0, 620.0, 40.0, 0.9, 0)


def box(index: int) -> tuple[float, float, float, float]:
    """Return where the defect is: it moves by 3 pixels a frame."""
    left = 3.0 * (index - FIRST)
    return left, 100.0, left + 20.0, 120.0


def inspected(missed: frozenset[int] = frozenset(), *, false: frozenset[int] = frozenset()) -> Inspected:
    """Return a clip with one defect, which is found in every frame that shows it but `missed`."""
    shows = range(FIRST, LAST + 1)
    frames = tuple((TrueBox(0, "open", box(n), 1.0),) if n in shows else () for n in range(FRAMES))
    truth = ClipTruth(1, 5, 25, (640, 360), 75.0, 10, (DefectTruth(0, 0, "open", 20.0),), frames)
    found: list[Detections] = []
    for index in range(FRAMES):
        rows = [(*box(index), 0.9, 0)] if index in shows and index not in missed else []
        found.append(scored_detections(*rows, *([WRONG] if index in false else [])))
    return Inspected(CLIP, truth, found)


def test_a_defect_that_is_found_becomes_an_event_at_each_rate() -> None:
    """At 25 and at 5 inspections a second it is one event and none is false."""
    for step in (1, 5):
        score = scored([inspected()], step, StreamSettings(min_hits=7), open_model(None))
        assert (score.passes, score.found, score.false_events, score.split) == (1, 1, 0, 0)


def test_a_defect_that_too_few_inspections_find_is_none() -> None:
    """Six hits where seven confirm leave the pass without an event."""
    rarely = frozenset(range(FIRST, LAST + 1)) - frozenset(range(150, 156))
    score = scored([inspected(rarely)], 1, StreamSettings(min_hits=7), open_model(None))

    assert (score.passes, score.found, score.events) == (1, 0, 0)


def test_what_stays_where_no_defect_is_makes_a_false_event() -> None:
    """Seven detections on one spot without a defect are one false event."""
    score = scored([inspected(false=frozenset(range(500, 520)))], 1, StreamSettings(min_hits=7), open_model(None))

    assert (score.found, score.false_events) == (1, 1)


def test_inspections_count_hits_and_false_detections() -> None:
    """Each frame of the pass is an inspection; a detection off every defect is a false one."""
    passes, false = inspections_of_passes([inspected(frozenset({150, 151}), false=frozenset({3, 4, 5}))], 0.5)

    assert [(len(seen), int(seen.sum())) for seen in passes] == [(LAST - FIRST + 1, LAST - FIRST - 1)]
    assert false == 3


def test_a_pass_that_the_clip_cuts_is_left_out() -> None:
    """A defect in view at the start had begun to cross before the first inspection."""
    one = inspected()
    cut = replace(one.truth, frames=one.truth.frames[FIRST + 5 :] + one.truth.frames[: FIRST + 5])

    assert (
        inspections_of_passes([replace(one, truth=cut, found=one.found[FIRST + 5 :] + one.found[: FIRST + 5])], 0.5)[0]
        == []
    )


def test_a_score_below_the_threshold_is_no_hit() -> None:
    """Hits are counted above the threshold alone."""
    (seen,), _ = inspections_of_passes([inspected()], 0.95)

    assert not seen.any()


def test_k_of_n_inspections_beside_independent_ones() -> None:
    """Two defects, one that all inspections find and one that none finds: independent ones would miss either rarely."""
    passes = [np.ones(100, bool), np.zeros(100, bool)]

    assert of_inspections(passes, 2, 3) == {"missed": 1, "of": 2, "missed_share": 0.5, "if_independent": 0.5}
    assert of_inspections([np.array([True, True, False, True] * 25)], 1, 1)["of"] == 1


def test_correlation_of_inspections() -> None:
    """Defects that are always or never found correlate wholly, inspections that alternate the other way round."""
    assert correlation([np.ones(100, bool), np.zeros(100, bool)], 5) == pytest.approx(1.0)
    assert correlation([np.array([True, False] * 50)], 1) == pytest.approx(-1.0)
    assert correlation([np.ones(100, bool)], 1) is None
