# SPDX-License-Identifier: AGPL-3.0-or-later
"""The result as JSON and as the table in docs/reliability.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.faults.bench import SUBJECTS, Fault
from benchmarks.faults.verdict import Verdict
from benchmarks.rounds import Report
from vision_line.errors import RunError

PAGE = Path(__file__).parent.parent.parent / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"


@dataclass(frozen=True, slots=True)
class Row:
    """One fault with what each subject made of it, and what vision-line did not hold."""

    fault: Fault
    verdicts: dict[str, Verdict]
    broken: list[str]


def publish(rows: Sequence[Row], seconds: float) -> None:
    """Write both."""
    report = Report("faults", facts={"minutes": round(seconds / 60, 1)})
    for row in rows:
        for subject, verdict in row.verdicts.items():
            report.add(fault=row.fault.name, subject=subject, **asdict(verdict))
    report.facts["broken promises"] = {row.fault.name: row.broken for row in rows if row.broken}
    report.publish()
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{table(rows)}{END}{after}", encoding="utf-8")


def table(rows: Sequence[Row]) -> str:
    """Return the table in Markdown. Pure."""
    lines = ["| fault | " + " | ".join(SUBJECTS) + " |", "|---|" + "---|" * len(SUBJECTS)]
    for row in rows:
        cells = [_cell(row.verdicts.get(subject), tells=subject == SUBJECTS[0]) for subject in SUBJECTS]
        lines.append(f"| {row.fault.name}: {row.fault.what} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(verdict: Verdict | None, *, tells: bool) -> str:
    if verdict is None:
        return "–"
    back = "never back" if verdict.back_s is None else f"back after {verdict.back_s:.1f} s"
    blind = f"blind {verdict.blind_s:.1f} s"
    told = f"told: {', '.join(verdict.causes) or 'nothing to tell'}" if tells else "tells nothing"
    old = f"{verdict.old} results on old or no pictures (up to {verdict.oldest_s:.1f} s)" if verdict.old else "none old"
    damaged = f"{verdict.damaged} damaged pictures not judged; " if verdict.damaged else ""
    others = f"others blind {verdict.others_lost_s:.1f} s" if verdict.others_lost_s else "others lost nothing"
    if verdict.exit_code == RunError.exit_code:
        return f"stops inspecting and says so, exit code {verdict.exit_code}; {others}"
    return damaged + "; ".join((back, blind, told, old, others))
