# SPDX-License-Identifier: AGPL-3.0-or-later
"""The result as JSON and as the table in docs/reliability.md, with where, by what and when it was measured."""

from __future__ import annotations

import platform
import subprocess
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.faults.bench import LINE, SUBJECTS
from benchmarks.faults.fault import Broken, Fault
from benchmarks.faults.outcome import Outcome
from benchmarks.faults.quiet import BUSY_SHARE
from benchmarks.rounds import Report, machine
from vision_line.errors import RunError

PAGE = Path(__file__).parent.parent.parent / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
#: Longest line of the page's prose, in characters.
_PAGE_WIDTH = 124
#: Any of the packages of a line may hold it.
PACKAGES = {
    "OpenVINO": ("openvino",),
    "PyAV": ("av",),
    "OpenCV": ("opencv-python-headless", "opencv-python"),
    "Ultralytics": ("ultralytics-opencv-headless", "ultralytics"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One fault with what each subject made of it, what vision-line did not hold, and how much others used (0 to 1)."""

    fault: Fault
    outcomes: dict[str, Outcome]
    broken: Broken
    foreign: float

    @property
    def is_broken(self) -> bool:
        """Whether vision-line broke a promise for certain."""
        return self.broken.is_clear(self.foreign)

    @property
    def is_unclear(self) -> bool:
        """Whether a promise did not hold in a way that the machine may be the cause of."""
        return bool(self.broken) and not self.is_broken


def publish(rows: Sequence[Row], left_out: Sequence[str], seconds: float) -> None:
    """Write both."""
    report = Report("faults", facts={"minutes": round(seconds / 60, 1), **_versions()})
    for row in rows:
        for subject, outcome in row.outcomes.items():
            report.add(fault=row.fault.name, subject=subject, **asdict(outcome))
    report.facts["broken promises"] = {row.fault.name: str(row.broken) for row in rows if row.is_broken}
    report.facts["unclear, the machine was busy"] = {row.fault.name: str(row.broken) for row in rows if row.is_unclear}
    report.facts["used by other programs"] = {row.fault.name: round(row.foreign, 2) for row in rows}
    report.facts["left out"] = list(left_out)
    report.publish()
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    text = f"{measured_on(machine(), _versions(), seconds, left_out)}\n\n{table(rows)}"
    PAGE.write_text(f"{before}{BEGIN}\n{text}{END}{after}", encoding="utf-8")


def measured_on(on: Mapping[str, object], versions: Mapping[str, str], seconds: float, left_out: Sequence[str]) -> str:
    """Return the sentences before the table. Pure."""
    notes = [
        f"Measured in {seconds / 60:.0f} minutes on {on['cores']} cores of {on['cpu']} ({on['instruction_set']}), with",
        ", ".join(f"{name} {number}" for name, number in versions.items()) + ".",
    ]
    if left_out:
        notes.append(f"Left out for want of rights or tools: {', '.join(left_out)}.")
    return textwrap.fill(" ".join(notes), _PAGE_WIDTH, break_on_hyphens=False)


def table(rows: Sequence[Row]) -> str:
    """Return the table in Markdown. Pure."""
    lines = ["| fault | " + " | ".join(SUBJECTS) + " |", "|---|" + "---|" * len(SUBJECTS)]
    for row in rows:
        cells = [_cell(row, name) for name in SUBJECTS]
        cells[0] = _noted(row) + cells[0]
        lines.append(f"| {row.fault.name}: {row.fault.what} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _noted(row: Row) -> str:
    """Say what a reader must know before the figures."""
    if row.is_broken:
        return f"**does not hold: {row.broken}**; "
    if row.is_unclear:
        return f"*unclear, other programs used {row.foreign:.0%} of the machine: {row.broken}*; "
    return f"(beside other programs: {row.foreign:.0%} of the machine) " if row.foreign >= BUSY_SHARE else ""


def _cell(row: Row, subject: str) -> str:
    outcome = row.outcomes.get(subject)
    if outcome is None:
        return "–"
    return (_line_cell if subject == LINE else _peer_cell)(row.fault, outcome)


def _line_cell(fault: Fault, outcome: Outcome) -> str:
    if outcome.exit_code == RunError.exit_code:
        return _joined(f"stops inspecting and says so, exit code {outcome.exit_code}", _others(fault, outcome))
    return _joined(
        _many(outcome.damaged, "damaged frames not evaluated"),
        _back(outcome),
        f"reported: {', '.join(outcome.causes) or 'nothing'}",
        f"clock steps reported: {', '.join(f'{step:+.0f} s' for step in outcome.steps_s)}" if outcome.steps_s else "",
        _old(outcome),
        _others(fault, outcome),
    )


def _peer_cell(fault: Fault, outcome: Outcome) -> str:
    return _joined(
        "" if outcome.exit_code is None else f"ends (exit code {outcome.exit_code})",
        _back(outcome),
        "reports nothing",
        _many(outcome.damaged, "results on damaged frames"),
        _many(outcome.misplaced, "results under a time at which others stand already"),
        _old(outcome),
        _others(fault, outcome),
    )


def _back(outcome: Outcome) -> str:
    back = "never back" if outcome.back_s is None else f"back after {outcome.back_s:.1f} s"
    return f"{back}; blind {outcome.blind_s:.1f} s"


def _old(outcome: Outcome) -> str:
    return f"{outcome.old} results on old or no frames (up to {outcome.oldest_s:.1f} s)" if outcome.old else "none old"


def _others(fault: Fault, outcome: Outcome) -> str:
    if fault.everyone:
        return ""
    return f"others blind {outcome.others_lost_s:.1f} s" if outcome.others_lost_s else "others lost nothing"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count else ""


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))


def _versions() -> dict[str, str]:
    """Return what was measured, and the versions of what it was measured with."""
    linux = platform.release().split("-", maxsplit=1)[0]  # without what its distributor adds
    measured = {LINE: f"{version('vision-line')} at {_commit()}", "Linux": linux}
    return (
        measured | {"Python": platform.python_version()} | {name: _version(names) for name, names in PACKAGES.items()}
    )


def _version(packages: Sequence[str]) -> str:
    for package in packages:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "missing"


def _commit() -> str:
    """Return the commit of the working copy, and whether files differ from it."""
    commands = (["git", "rev-parse", "--short", "HEAD"], ["git", "status", "--porcelain", "--untracked-files=no"])
    try:
        commit, changes = (
            subprocess.run(command, cwd=PAGE.parent, check=True, capture_output=True, text=True).stdout.strip()
            for command in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return "no commit"
    return f"{commit} with changes" if changes else commit
