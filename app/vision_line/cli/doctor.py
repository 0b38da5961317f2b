# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line doctor`: the findings as a table or as JSON."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

from vision_line.doctor.diagnosis import diagnose
from vision_line.doctor.finding import Level, findings_json, findings_table


def show_diagnosis(record: Path, *, as_json: bool) -> int:
    """Print what this machine offers; return 3 when it cannot inspect, else 0."""
    findings = diagnose(record)
    if as_json:
        typer.echo(findings_json(findings))
    else:
        Console().print(findings_table(findings))
    return 3 if any(finding.level is Level.FAIL for finding in findings) else 0
