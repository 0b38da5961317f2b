# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line check` of a plant.toml says which command checks it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes.operator_files import written_plant

from vision_line.cli.check import check_file
from vision_line.errors import ConfigError
from vision_line.runtime.options import RunOptions


@pytest.mark.parametrize("key", ['pin = "box1"', "priority = 3"])
def test_a_plant_is_checked_by_another_command(tmp_path: Path, key: str) -> None:
    """Its keys are not unknown."""
    plant = written_plant(tmp_path, "cam1", more=f"{key}\n")

    with pytest.raises(ConfigError, match=r"a plant for several boxes.*fleet apply .*plant\.toml --dry-run"):
        check_file(RunOptions(streams=plant), probe=False)
