# SPDX-License-Identifier: AGPL-3.0-or-later
"""A report without the package that makes pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_line.cli import report
from vision_line.desk.report.period import WantedPeriod
from vision_line.errors import ConfigError


def test_a_missing_package_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the extra, and nothing is written."""
    monkeypatch.setattr(report, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"the report needs jinja2, segno: run pip install '\.\[desk\]'"):
        report.write_report(tmp_path, WantedPeriod(), tmp_path / "report.html", 60, check=False)
    assert not list(tmp_path.iterdir())
