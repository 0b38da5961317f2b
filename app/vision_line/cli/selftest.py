# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line selftest`: the checks as a table, and as JSON that can be sent to the developers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from vision_line.errors import ExitCode
from vision_line.output_files import write_output
from vision_line.runtime.output_check import check_outputs, takes_standard_output
from vision_line.runtime.protected_files import check_apart, kept_model
from vision_line.selftest.device_under_test import QUICK, Settings
from vision_line.selftest.report import CheckResult, Selftest, Status
from vision_line.selftest.selftest import CHECKS, run_selftest

_MARKS = {
    Status.PASSED: "[green]• passed[/]",
    Status.SKIPPED: "[bright_black]- skipped[/]",
    Status.FAILED: "[bold bright_white on red]■ FAILED[/]",
}


def show_selftest(
    device: str, model: Path | None, json_file: Path | None, seconds: float | None, *, quick: bool
) -> int:
    """Test `device`, print what was found, and write it to `json_file`; return the exit code.

    Raises:
        ConfigError: `json_file` cannot be written, or would replace the model.
        DeviceError: the device cannot be opened.
        ModelError: the model cannot be used.
        RunError: `json_file` cannot be written after all, or the GPU fails at the end.
    """
    check_outputs({"--json": json_file}, {})
    check_apart([(f"--json {json_file}", json_file)], kept_model(model))
    settings = QUICK if quick else Settings()
    if seconds is not None:
        settings = replace(settings, seconds=seconds)
    with Console(stderr=True).status("selftest") as status:
        report = run_selftest(device, model, settings, lambda what: status.update(f"selftest: {what}"))
    Console(stderr=takes_standard_output(json_file)).print(report_table(report))
    if json_file is not None:
        write_output(json_file, report.model_dump_json(indent=2) + "\n", "--json")
    return ExitCode.FAILED if report.failed else ExitCode.DONE


def report_table(report: Selftest) -> Group:
    """Return the report for a terminal: a line for each check, its figures below."""
    titles = {check.name: check.title for check in CHECKS}
    table = Table(box=None, header_style="bright_black", padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column("check", no_wrap=True)
    table.add_column("found", ratio=1)
    for check in report.checks:
        table.add_row(_MARKS[check.status], titles[check.name], Group(Text(check.sentence), *_figures(check)))
    model, settings = report.model, report.settings
    height, width = model.input_hw
    of = f"{settings.picture_wh[0]}x{settings.picture_wh[1]} frames, {width}x{height} {model.precision}"
    head = Text(f"{report.device}: {report.detail}; {of}\n", style="bold")
    return Group(head, table, Text(), _conclusion(report))


def _figures(check: CheckResult) -> Iterator[Text]:
    """Yield a line for each name, with all that was measured under it."""
    shown: dict[str, list[str]] = {}
    for figure in check.figures:
        shown.setdefault(figure.name, []).append(f"{figure.value:.5g} {figure.unit} {figure.of}".rstrip())
    for name, values in shown.items():
        yield Text(f"{name}: {'; '.join(values)}", "bright_black")


def _conclusion(report: Selftest) -> Text:
    if report.failed:
        return Text(
            f"Failed: {', '.join(report.failed)}. Do not trust this device before that is understood.", "bold red"
        )
    return Text("No check failed.", "bold green")
