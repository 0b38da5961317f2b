# SPDX-License-Identifier: AGPL-3.0-or-later
"""`[shifts]`: starts on the plant's clock, with names."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_line.config.load import load_config
from vision_line.config.models import ShiftSettings
from vision_line.errors import ConfigError


def _load(folder: Path, shifts: str) -> ShiftSettings | None:
    path = folder / "streams.toml"
    camera = '[[stream]]\nname = "a"\nurl = "rtsp://host/a"\n'
    path.write_text(f"config_version = 1\n[shifts]\n{shifts}\n{camera}", encoding="utf-8")
    return load_config(path, environment={}).config.shifts


def test_shifts_are_named_by_their_place_in_the_day_or_as_the_plant_says(tmp_path: Path) -> None:
    usual = _load(tmp_path, 'timezone = "Europe/Berlin"\nstart = ["06:00", "14:00", "22:00"]')
    assert usual is not None
    assert usual.plan.names == ("early", "late", "night")
    own = _load(tmp_path, 'timezone = "UTC"\nstart = ["07:30", "19:30"]\nnames = ["Tag", "Nacht 2"]')
    assert own is not None
    assert own.plan.names == ("Tag", "Nacht 2")


@pytest.mark.parametrize(
    ("shifts", "problem"),
    [
        ('timezone = "Europe/Berlim"\nstart = ["06:00"]', "Europe/Berlim"),
        ('timezone = "UTC"\nstart = ["14:00", "06:00"]', "each later in the day"),
        ('timezone = "UTC"\nstart = []', "one start of a shift or more"),
        ('timezone = "UTC"\nstart = ["6 Uhr"]', "6 Uhr"),
        ('timezone = "UTC"\nstart = ["06:00", "18:00"]\nnames = ["day"]', "a name for each shift"),
        ('timezone = "UTC"\nstart = ["06:00"]\nnames = ["a/b"]', "names"),
        ('start = ["06:00"]', "timezone"),
    ],
)
def test_what_is_no_plan_of_shifts_is_refused(tmp_path: Path, shifts: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        _load(tmp_path, shifts)
