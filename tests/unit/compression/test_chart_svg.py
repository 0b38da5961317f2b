# SPDX-License-Identifier: AGPL-3.0-or-later
"""Shapes as SVG: well formed, whatever the words in them."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line_compression.charts import Scale, axes, bar, figure, label, line, marker, path

WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)


@given(WORDS, st.sampled_from(["circle", "diamond", "square"]))
def test_a_chart_is_well_formed_and_says_what_it_shows(words: str, shape: str) -> None:
    """Words from a file cannot become markup."""
    x, y = Scale(0, 10, 0, 100), Scale(0, 1, 100, 0)
    shapes = (
        axes(x, y, words, words),
        line(0, 0, 1, 1, "grid"),
        path([(0, 0), (1, 1)], "step"),
        bar(0, 0, 5, 5, "kept"),
    )

    chart = figure(100, 100, "".join((*shapes, marker(5, 5, shape, "step", words), label(0, 0, words, "tick"))), words)

    root = ElementTree.fromstring(chart)  # noqa: S314  it is our own text
    assert root.attrib["aria-label"] == words
    assert root.findtext("title") == words
    assert {child.tag for child in root} >= {"title", "line", "polyline", "rect", "text"}


@pytest.mark.parametrize(("width", "drawn"), [(12.0, "12.0"), (-1.0, "0.0")])
def test_a_bar_has_no_negative_width(width: float, drawn: str) -> None:
    """A viewer would not draw the chart at all."""
    assert f'width="{drawn}"' in bar(0, 0, width, 5, "kept")
