# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line doctor`: the findings as a table or as JSON."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

from vision_line.cli.shared_options import RECORDS
from vision_line.config.load import load_config
from vision_line.doctor.diagnosis import SHIPPED, diagnose
from vision_line.doctor.finding import Level, findings_json, findings_table
from vision_line.runtime.options import RunOptions, model_path
from vision_line.runtime.run_models import line_models


def show_diagnosis(record: Path | None, streams: Path | None, *, as_json: bool) -> int:
    """Print what this machine offers, to the line of `streams` where it is given; return 3 when it cannot inspect.

    `record` None: the folder that the line records in.

    Raises:
        ConfigError: `streams` is not valid.
    """
    models, directory = SHIPPED, RECORDS
    if streams is not None:
        loaded = load_config(streams)
        models = tuple(line_models(loaded, model_path(RunOptions(streams), loaded)))
        directory = Path(loaded.config.record.directory)
    findings = diagnose(record or directory, models)
    if as_json:
        typer.echo(findings_json(findings))
    else:
        Console().print(findings_table(findings))
    return 3 if any(finding.level is Level.FAIL for finding in findings) else 0
