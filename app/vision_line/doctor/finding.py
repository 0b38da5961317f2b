# SPDX-License-Identifier: AGPL-3.0-or-later
"""A finding of the doctor, and how findings are shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


class Level(StrEnum):
    """OK; WARN: it works, but something is slower or missing; FAIL: vision-line cannot inspect here."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    area: str  # "cpu", "video", ...
    level: Level
    what: str  # what was found
    meaning: str = ""  # what that means for inspection
    remedy: str = ""  # what to install or change; empty when nothing


_MARKS = {
    Level.OK: "[green]• ok[/]",
    Level.WARN: "[bold black on yellow]▲ warn[/]",
    Level.FAIL: "[bold bright_white on red]■ FAIL[/]",
}


def findings_table(findings: Sequence[Finding]) -> Table:
    """Return the findings as a table for a rich console."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bright_black", padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column("area", no_wrap=True)
    table.add_column("found", ratio=2)
    table.add_column("what it means, what to do", ratio=3)
    for finding in findings:
        advice = [Text(finding.meaning)] if finding.meaning else []
        advice += [Text(f"→ {finding.remedy}", "bold")] if finding.remedy else []
        table.add_row(_MARKS[finding.level], finding.area, Text(finding.what), Group(*advice))
    return table


def findings_json(findings: Sequence[Finding]) -> str:
    """Return the findings as a JSON array of objects with the fields of `Finding`."""
    return json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False)
