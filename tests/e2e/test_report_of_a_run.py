# SPDX-License-Identifier: AGPL-3.0-or-later
"""A report on a real run: shifts come from its journal, figures from its ledger, images from its evidence."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from tests.e2e.conftest import COMMAND, LineRun

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SHIFTS = '[shifts]\ntimezone = "Asia/Kolkata"\nstart = ["06:00", "18:00"]\nnames = ["Tag", "Nacht"]\n'


def report(run: LineRun, output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [str(COMMAND), "report", "--record", str(run.records), "-o", str(output), *options]
    return subprocess.run(command, text=True, capture_output=True, check=False, timeout=120)


def test_a_run_as_one_file(tmp_path: Path) -> None:
    """The seconds are those of the run's own summary, the counts those of its rows; the journal holds."""
    run = LineRun(tmp_path, 2)
    run.write_streams(run.names, SHIFTS)
    run.run("--duration", "12", within_s=200)
    done = report(run, tmp_path / "report.html", "--last", "1h", "--verify")
    assert done.returncode == 0, done.stderr
    assert "(UTC+05:30)" in done.stdout
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Asia/Kolkata ([shifts] in the records)" in text
    assert "✔ journal and tables hold" in text
    missing_s = dict.fromkeys(
        (cause for camera in run.summary()["cameras"] for cause in camera["not_inspected_s"]), 0.0
    )
    for camera in run.summary()["cameras"]:
        for cause, seconds in camera["not_inspected_s"].items():
            missing_s[cause] += seconds
    shown = dict(re.findall(r'<code class="faint">([^<]+)</code></td>.*?>([\d.]+)</td></tr>', text))
    assert {cause: float(seconds) for cause, seconds in shown.items()} == pytest.approx(missing_s, abs=0.002)
    ((rejects,),) = run.query("SELECT count(*) FROM events WHERE verdict = 'reject'")
    assert rejects > 0
    assert f"<b>{rejects} ■</b>" in text
    assert text.count('<img src="data:image/jpeg') == min(rejects, 60)
    ended = report(run, tmp_path / "last.html")
    assert re.search(r"Shift \d{4}-\d\d-\d\d/(Tag|Nacht)", ended.stdout), ended.stderr
