# SPDX-License-Identifier: AGPL-3.0-or-later
"""The report card's file and page: whole, self-contained, honest about what was not run."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from vision_line.errors import ConfigError
from vision_line_compression.evaluate.results import GroupedImages
from vision_line_compression.report import plots
from vision_line_compression.report.card import ReportCard, RowKind, TrainedAgain
from vision_line_compression.report.page import render_page, write_report

_VOID = {"meta", "br"}


class _Tags(HTMLParser):
    """Checks that every element is closed in its order, and keeps the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del tag, attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_report_is_written_and_read_again(tmp_path: Path, card: ReportCard) -> None:
    """The JSON holds all that the page shows."""
    page = write_report(card, tmp_path / "report")

    assert ReportCard.read(page.parent / "report.json") == card
    assert sorted(path.name for path in page.parent.iterdir()) == ["report.html", "report.json"]


def test_page_is_well_formed(card: ReportCard) -> None:
    """Every element is closed, in the text and in the plots."""
    tags = _Tags()
    tags.feed(render_page(card))

    assert tags.open == []


def test_page_needs_nothing_from_elsewhere(card: ReportCard) -> None:
    """No address, no script, no file is referred to: the page opens on a machine without network."""
    page = render_page(card)

    assert not re.findall(r"https?:|<script|<link|<img|@import|url\(|src=|href=", page)


def test_rows_that_were_not_run_are_shown_as_such(card: ReportCard) -> None:
    """All kinds have a row, and one without figures says that it was not run."""
    page = render_page(card)

    assert all(f"<b>{kind.heading}</b>" in page for kind in RowKind)
    absent = [row for row in card.rows if row.evaluation is None]
    assert page.count('<td colspan="11" class="text">not run</td>') == len(absent) > 0


def test_misses_are_plotted_against_latency_too(card: ReportCard) -> None:
    """All measured rows; the worst is at the edge with its figure, since fewer are better."""
    found = plots.trade_off(card, lambda evaluation: evaluation.model.params, "params", plots.MISSES)

    assert found is not None
    assert "defects missed against params" in found
    assert render_page(card).count("Misses and latency") == 1


def test_differences_inside_the_interval_are_noise(card: ReportCard) -> None:
    """A change whose interval holds 0 is marked, one outside is not."""
    page = render_page(card)

    assert '<span class="noise">−0.30</span>' in page  # distilled, ±0.6 points
    assert "<span>−2.20</span>" in page  # recovered


def test_int8_rows_say_what_rounding_took(card: ReportCard) -> None:
    """Against the float model that was quantized; only those that were run."""
    page = render_page(card)

    assert page.count("against its float model") == 2
    assert '<span class="noise">−0.40</span>' in page  # INT8, MSE, ±0.6 points


def test_misses_on_corrupted_images_are_on_the_page(card: ReportCard) -> None:
    """With their difference in points, and not only what is wrongly found."""
    page = render_page(card)

    assert "Corrupted images: defects missed" in page
    assert "Quantized minus float over all: +1.00, 95 %: −4.00 … +3.00 (noise) points." in page
    assert "share of defects missed by severity of corruption" in page
    assert "false detections per image by severity of corruption" in page


def test_groups_and_trainings_are_said(card: ReportCard) -> None:
    """What intervals are over, and what each training gave."""
    again = TrainedAgain(seed=1, map50_95=0.711, map50=0.9, miss_rate=0.031, false_per_image=1.0)
    rows = tuple(row.model_copy(update={"again": (again,)}) if row.kind is card.product else row for row in card.rows)
    grouped = card.model_copy(update={"rows": rows, "grouped": GroupedImages(by="^(.....)", groups=11)})

    page = render_page(grouped)

    assert "11 groups of images (^(.....)) drawn anew" in page
    assert "never narrower than the exact one" in page
    assert "2 trainings, mAP50-95\n0.6990, 0.7110; missed\n3.64 %, 3.10 %" in page
    assert "over\nimages drawn anew" in render_page(card)


def test_failed_gates_are_counted(card: ReportCard) -> None:
    """The result is on top, and each gate says what was found."""
    page = render_page(card)

    assert "✗ 1 of 7 gates failed" in page
    assert "3.72×" in page


def test_empty_card_has_a_page(card: ReportCard) -> None:
    """Without plots' figures the page says so instead of failing."""
    bare = card.model_copy(update={"kept_channels": (), "sensitivity": (), "robustness": None, "gates": ()})

    page = render_page(bare)

    assert page.count('class="absent-plot"') == 4
    assert "No gate was set." in page


def test_names_are_escaped(card: ReportCard) -> None:
    """What comes from a file cannot become markup."""
    named = card.model_copy(update={"identity": card.identity.model_copy(update={"machine": "<b>&"})})

    assert "&lt;b&gt;&amp;" in render_page(named)


@pytest.mark.parametrize("content", [None, "{}", "no json"])
def test_other_files_are_no_card(tmp_path: Path, content: str | None) -> None:
    """A missing or foreign file is refused with its name."""
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")

    with pytest.raises(ConfigError, match=r"report\.json"):
        ReportCard.read(path)
