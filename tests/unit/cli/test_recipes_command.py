# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line recipes` where nothing runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_line.cli.recipes import use_recipe
from vision_line.errors import ConfigError


def test_before_the_first_run_it_says_what_to_do(tmp_path: Path) -> None:
    """The folder of the records is the run's to make; nothing is made by asking."""
    streams = tmp_path / "streams.toml"
    streams.write_text("[recipe.7]\nmin_hits = 2\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"there is no folder .*records: a run makes it, so start the line once"):
        use_recipe(streams, tmp_path / "records", "7", None, none=False)

    assert not (tmp_path / "records").exists()
