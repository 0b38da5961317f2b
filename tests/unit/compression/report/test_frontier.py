# SPDX-License-Identifier: AGPL-3.0-or-later
"""Several runs put together: what a millisecond costs, and what cannot be compared."""

from __future__ import annotations

from pathlib import Path
from xml.dom.minidom import parseString

import pytest
from typer.testing import CliRunner

from vision_line.errors import ConfigError
from vision_line_compression.cli import cli
from vision_line_compression.report.card import ReportCard, RowKind
from vision_line_compression.report.frontier import frontier_chart, measured_points, steps


def faster(card: ReportCard, *, ms: float, map50_95: float, missed: float) -> ReportCard:
    """Return a card whose product is another one."""
    row = card.row(card.product)
    evaluation = row.evaluation
    assert evaluation is not None
    assert evaluation.speed is not None
    first, *others = evaluation.operating
    rate = first.miss_rate.model_copy(update={"value": missed})
    changed = evaluation.model_copy(
        update={
            "accuracy": evaluation.accuracy.model_copy(update={"map50_95": map50_95}),
            "operating": (first.model_copy(update={"miss_rate": rate}), *others),
            "speed": evaluation.speed.model_copy(update={"latency_p50_ms": ms}),
        }
    )
    rows = tuple(
        one.model_copy(update={"evaluation": changed}) if one.kind is card.product else one for one in card.rows
    )
    return card.model_copy(update={"rows": rows})


def test_each_step_says_what_a_millisecond_costs(card: ReportCard) -> None:
    """From the slowest to the fastest; points are hundredths."""
    slow = faster(card, ms=6.0, map50_95=0.70, missed=0.03)
    quick = faster(card, ms=4.0, map50_95=0.69, missed=0.05)

    points = measured_points({"quick": quick, "slow": slow})

    assert [point.name for point in points] == ["parent", "slow", "quick"]
    assert steps(points)[-1].sentence == (
        "slow -> quick: 6.00 -> 4.00 ms, mAP50-95 -1.00 points (-0.50 a ms), misses +2.00 points (+1.00 a ms)"
    )


def test_reports_of_other_images_are_not_compared(card: ReportCard) -> None:
    """Nor of another parent: every difference is named."""
    identity = card.identity.model_copy(update={"data_sha256": {"judge": "other"}, "parent_sha256": "x"})

    with pytest.raises(ConfigError) as refused:
        measured_points({"a": card, "b": card.model_copy(update={"identity": identity})})

    assert [problem.split(": found")[0] for problem in refused.value.problems] == ["b: images", "b: parent"]


def test_a_run_that_was_not_timed_is_named(card: ReportCard) -> None:
    """With the key that times it."""
    rows = tuple(
        one.model_copy(update={"evaluation": None}) if one.kind is RowKind.PARENT else one for one in card.rows
    )

    with pytest.raises(ConfigError, match=r"parent: expected its speed, set evaluate\.speed_s"):
        measured_points({"a": card.model_copy(update={"rows": rows})})


def test_the_command_writes_a_chart(card: ReportCard, tmp_path: Path) -> None:
    """And one line for each step; one report alone is refused."""
    for name, ms in (("slow", 6.0), ("quick", 4.0)):
        (tmp_path / name).mkdir()
        faster(card, ms=ms, map50_95=0.7, missed=0.03).write(tmp_path / name / "report.json")
    chart = tmp_path / "frontier.svg"
    slow, quick = (str(tmp_path / name / "report.json") for name in ("slow", "quick"))

    done = CliRunner().invoke(cli, ["frontier", slow, quick, "-o", str(chart)])

    assert done.exit_code == 0, done.output
    assert "slow -> quick: 6.00 -> 4.00 ms" in done.output  # named by their runs' folders
    assert len(parseString(chart.read_text()).getElementsByTagName("circle")) == 6  # noqa: S318 - our own text
    assert CliRunner().invoke(cli, ["frontier", slow]).exit_code == 2


def test_the_chart_stands_alone(card: ReportCard) -> None:
    """A file of its own, with its style."""
    assert frontier_chart(measured_points({"a": card})).startswith('<svg xmlns="http://www.w3.org/2000/svg"')
