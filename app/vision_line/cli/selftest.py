# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line selftest`: the checks as a table, and as JSON that can be sent to the developers."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console, Group
from rich.status import Status as Spinner
from rich.table import Table
from rich.text import Text

from vision_line.cli.selftest_bundle import write_bundle
from vision_line.config.load import load_config
from vision_line.errors import ExitCode
from vision_line.output_files import place_of, write_output
from vision_line.runtime.options import RunOptions, model_path
from vision_line.runtime.output_check import check_outputs, takes_standard_output
from vision_line.runtime.protected_files import check_apart, kept_model
from vision_line.runtime.run_models import line_models
from vision_line.screens.lines import say
from vision_line.selftest.device_under_test import QUICK, Settings
from vision_line.selftest.report import CheckResult, Selftest, Status
from vision_line.selftest.selftest import CHECKS, MODEL_CHECKS
from vision_line.selftest.supervisor import Watching, run_selftest

_MARKS = {
    Status.PASSED: "[green]• passed[/]",
    Status.SKIPPED: "[bright_black]- skipped[/]",
    Status.FAILED: "[bold bright_white on red]■ FAILED[/]",
}


@dataclass(frozen=True, slots=True)
class ModelsToTest:
    """What is tested: `model`, None the shipped one; with `streams` as the line's own, with those of its recipes."""

    model: Path | None
    streams: Path | None

    def named(self) -> list[tuple[str, Path | None]]:
        """Return each model with who names it, "" where it is the only one.

        Raises:
            ConfigError: `streams` is not valid.
        """
        if self.streams is None:
            return [("", self.model)]
        loaded = load_config(self.streams)
        return line_models(loaded, model_path(RunOptions(self.streams, model=self.model), loaded))


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where the reports go: `json_file`, and with `is_report` one file with all that helps to understand a failure."""

    json_file: Path | None
    is_report: bool

    def write(self, reports: Sequence[Selftest]) -> None:
        """Write what is known so far, where a file can be written again.

        Raises:
            ConfigError, RunError: it cannot be written.
        """
        if self.json_file is not None and place_of(self.json_file).replaced:
            write_output(self.json_file, text_of(reports), "--json")

    def finish(self, reports: Sequence[Selftest], log: Path) -> None:
        """Write all; say where the one file is.

        Raises:
            ConfigError, RunError: it cannot be written.
        """
        if self.json_file is not None:
            write_output(self.json_file, text_of(reports), "--json")
        if self.is_report:
            path = write_bundle(text_of(reports), reports[0].device, log)
            say(f"{path}: to send; no names, addresses or folders are in it", sys.stderr)


def show_selftest(device: str, models: ModelsToTest, outputs: Outputs, seconds: float | None, *, quick: bool) -> int:
    """Test `device` with each model, print what was found, and write it after each check; return the exit code.

    Raises:
        ConfigError: an output cannot be written, or would replace a model, or the models' file is not valid.
        DeviceError: the device cannot be used.
        ModelError: the model cannot be used.
        RunError: an output cannot be written after all, or the GPU fails at the end.
    """
    check_outputs({"--json": outputs.json_file}, {})
    named = models.named()
    for _, path in named:
        check_apart([(f"--json {outputs.json_file}", outputs.json_file)], kept_model(path))
    settings = QUICK if quick else Settings()
    if seconds is not None:
        settings = replace(settings, seconds=seconds)
    console, reports = Console(stderr=takes_standard_output(outputs.json_file)), list[Selftest]()
    with ExitStack() as undo:
        log = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="vision-line-"))) / "log.txt"
        for named_by, path in named:
            what = f"selftest, model of {named_by}" if named_by else "selftest"
            with Console(stderr=True).status(what) as status:
                watching = Watching(partial(_show, status, what), partial(_write, outputs, reports))
                checks = MODEL_CHECKS if reports else CHECKS
                reports = [*reports, run_selftest(device, path, settings, watching, checks, log=log)]
            console.print(report_table(reports[-1], named_by))
        if len(reports) > 1:
            console.print(slowest(reports))
        outputs.finish(reports, log)
    return ExitCode.FAILED if any(report.failed for report in reports) else ExitCode.DONE


def _write(outputs: Outputs, before: Sequence[Selftest], report: Selftest) -> None:
    outputs.write([*before, report])


def text_of(reports: Sequence[Selftest]) -> str:
    """Return the JSON of one or several reports, the others in the first."""
    return reports[0].model_copy(update={"others": [*reports[1:]]}).model_dump_json(indent=2) + "\n"


def _show(status: Spinner, what: str, check: str) -> None:
    status.update(f"{what}: {check}")


def slowest(reports: Sequence[Selftest]) -> Text:
    """Return which of several models the line has to be planned by."""
    rates = {report.model.name or report.model.sha256[:12]: report.inspected_fps for report in reports}
    measured = {name: rate for name, rate in rates.items() if rate is not None}
    if len(measured) < len(rates):
        return Text(f"{len(reports)} models; not all could be measured.", "bold red")
    name = min(measured, key=measured.__getitem__)
    return Text(
        f"{len(reports)} models; the slowest is {name}: {measured[name]:.0f} frames/s. Plan the line by it.", "bold"
    )


def report_table(report: Selftest, named_by: str = "") -> Group:
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
    whose = f"Model {model.name or model.sha256[:12]} of {named_by}\n" if named_by else ""
    head = Text(f"{whose}{report.device}: {report.detail}; {of}\n", style="bold")
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
