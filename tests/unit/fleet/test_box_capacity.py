# SPDX-License-Identifier: AGPL-3.0-or-later
"""A box's capacity as it was measured: read again, and doubted where it was measured on something else."""

from __future__ import annotations

import pytest

from vision_line.fleet.box_capacity import BoxCapacity, MeasuredOn

MEASURED = BoxCapacity(
    inspections_per_s=40.0,
    mpixels_per_s=414.7,
    measured=MeasuredOn(
        vision_line="0.1.0",
        day_utc="2026-11-29",
        processor="Xeon",
        cores=4,
        load=0.1,
        device="CPU",
        model_sha256="a" * 64,
        cameras=8,
        size_wh=(1920, 1080),
        fps=25.0,
        codec="h264",
        inspect_fps=5.0,
        limit_ms=180.0,
        latency_p99_ms=90.0,
        decoded_mpixels_per_s={"h264": 800.0},
        inspections_alone_per_s=120.0,
    ),
)


def test_it_is_read_as_it_was_written() -> None:
    """By whoever wrote it."""
    assert BoxCapacity.model_validate_json(MEASURED.model_dump_json()) == MEASURED
    assert BoxCapacity.model_validate_json('{"inspections_per_s": 1, "mpixels_per_s": 2}').measured is None


@pytest.mark.parametrize(
    ("processor", "cores", "model", "found"),
    [
        ("Xeon", 4, "a" * 64, []),
        ("EPYC", 4, "a" * 64, ["processor"]),
        ("Xeon", 2, "a" * 64, ["cores"]),
        ("EPYC", 2, "b" * 64, ["processor", "cores", "model"]),
    ],
)
def test_something_else_is_said(processor: str, cores: int, model: str, found: list[str]) -> None:
    """Each in a sentence with what to do."""
    doubts = list(MEASURED.doubts(processor, cores, model))

    assert [one.split("measured with ")[1].split()[0] for one in doubts] == found
    assert all("vision-line bench" in one for one in doubts)


def test_what_somebody_wrote_by_hand_is_taken_as_it_is() -> None:
    """There is nothing to compare it with."""
    assert not list(BoxCapacity(inspections_per_s=1, mpixels_per_s=1).doubts("EPYC", 2, ""))
