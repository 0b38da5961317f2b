# SPDX-License-Identifier: AGPL-3.0-or-later
"""The search for parts to keep float, on scores that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.fakes.quantizing import quantize_onnx

from vision_line_compression.quantize.mixed_precision import (
    MixedPrecisionSettings,
    narrow_mixed_precision,
    parts_of,
    rank_by_closeness,
    rank_parts,
    search_mixed_precision,
)
from vision_line_compression.quantize.settings import QuantizeSettings

FLOAT_SCORE = 0.9
GAINS = {"a": 0.01, "b": 0.03, "c": 0.0, "d": -0.01}


class Scorer:
    """Scores a protected set as the sum of what its parts buy, and counts the calls."""

    def __init__(self, gains: dict[str, float], unprotected: float = 0.85) -> None:
        self.gains, self.unprotected, self.calls = gains, unprotected, 0

    def __call__(self, parts: tuple[str, ...]) -> float:
        self.calls += 1
        return self.unprotected + sum(self.gains[part] for part in parts)


def test_the_parts_that_buy_most_are_kept_first() -> None:
    """Useless and harmful parts stay quantized."""
    found = search_mixed_precision("abcd", Scorer(GAINS), FLOAT_SCORE, MixedPrecisionSettings())

    assert found.keep_float == ("b", "a")
    assert found.score == pytest.approx(0.89)
    assert [probe.part for probe in found.probes] == ["b", "a", "c", "d"]


def test_it_stops_when_the_score_is_good_enough() -> None:
    """Within the tolerance nothing more is given up; at once if nothing is lost."""
    enough = search_mixed_precision("abcd", Scorer(GAINS), FLOAT_SCORE, MixedPrecisionSettings(tolerance=0.025))
    scorer = Scorer(GAINS, unprotected=0.899)
    nothing = search_mixed_precision("abcd", scorer, FLOAT_SCORE, MixedPrecisionSettings())

    assert enough.keep_float == ("b",)
    assert nothing.keep_float == ()
    assert scorer.calls == 1


def test_closeness_decides_what_is_tried_first() -> None:
    """Every part is measured alone; equals stay in the order in which they came."""
    closeness = Scorer({"a": 1.0, "b": 3.0, "c": 1.0, "d": 2.0})

    assert rank_by_closeness("abcd", closeness) == ("b", "d", "a", "c")
    assert closeness.calls == 4


def test_one_convolution_that_does_as_well_is_kept_instead_of_its_block() -> None:
    """A block gives way to the one that matters; one whose convolutions only help together stays whole."""
    scorer = Scorer(GAINS | {"b.1": 0.0, "b.2": 0.031, "a.1": 0.004, "a.2": 0.005})
    found = search_mixed_precision("abcd", scorer, FLOAT_SCORE, MixedPrecisionSettings())

    narrowed = narrow_mixed_precision(
        found, {"a": ("a.1", "a.2"), "b": ("b.1", "b.2")}, scorer, MixedPrecisionSettings()
    )

    assert narrowed.keep_float == ("a", "b.2")
    assert narrowed.score == pytest.approx(0.891)
    assert narrowed.unprotected_score == found.unprotected_score


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.floats(-0.05, 0.05), max_size=8),
    st.integers(0, 8),
    st.integers(0, 8),
)
def test_the_search_is_bounded_and_never_worse(gains: dict[str, float], most: int, probed: int) -> None:
    """Whatever the gains: few calls, few parts, and a score at least that of protecting nothing."""
    scorer = Scorer(gains)
    settings = MixedPrecisionSettings(most_protected=most, most_probed=probed)

    found = search_mixed_precision(tuple(gains), scorer, FLOAT_SCORE, settings)

    assert scorer.calls <= 1 + 2 * probed
    assert len(found.keep_float) <= most
    assert found.score >= found.unprotected_score


def test_parts_are_ranked_by_their_noise(yolo: Path, images: list[NDArray[np.float32]], tmp_path: Path) -> None:
    """Blocks are named as `keep_float` takes them, quantized ones only, each once."""
    report = quantize_onnx(yolo, tmp_path / "int8.onnx", QuantizeSettings(), images)

    parts = rank_parts(report)

    assert parts_of(report).keys() == set(parts)
    assert sorted(name for members in parts_of(report).values() for name in members) == sorted(report.quantized)
    assert set(parts) == {"model.1", "model.2", "model.3", "model.6", "head/cv2.0/conv", "head/cv3.0/conv"}
    for part in parts:
        quantize_onnx(yolo, tmp_path / "protected.onnx", QuantizeSettings(keep_float=(part,)), images)
