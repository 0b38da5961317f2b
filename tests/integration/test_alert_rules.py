# SPDX-License-Identifier: AGPL-3.0-or-later
"""Alerts and dashboard of docs/: checked and run by Prometheus' own tool, and made of metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from vision_line.ports import DeviceDescription, LogStatus
from vision_line.telemetry.exposition import Exposition
from vision_line.telemetry.metrics import ModelFacts, RunFacts, RunMetrics
from vision_line.telemetry.reading import Reading

DOCS = Path(__file__).parents[2] / "docs"
RULES = DOCS / "prometheus" / "vision-line.rules.yml"
TESTS = DOCS / "prometheus" / "vision-line.tests.yml"
#: How a family's samples end.
ENDINGS = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}


def promtool(*arguments: str | Path, cwd: Path = DOCS / "prometheus") -> subprocess.CompletedProcess[str]:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool (apt install prometheus)")
    return subprocess.run(["promtool", *arguments], cwd=cwd, text=True, capture_output=True, check=False)


def names_of(family: Metric) -> set[str]:
    return {f"{family.name}{ending}" for ending in ENDINGS.get(family.type, [""])}


@pytest.fixture(scope="module")
def metrics() -> set[str]:
    """Return the name of every series that a run has."""
    facts = RunFacts("0", DeviceDescription("cpu", "", "", (), 1, 1), ModelFacts("m", "", "", ()), 0.0, 0.0)
    run = RunMetrics(facts)
    text = Exposition(lambda: Reading(run.totals(1.0), LogStatus())).text().decode()
    families = text_string_to_metric_families(text)
    return {name for family in families for name in names_of(family)}


def test_the_command_of_the_docs_leaves_an_existing_prometheus_alone() -> None:
    """It copies the alerts by name: neither our scrape configuration over another one, nor the alerts' tests."""
    (sources,) = re.findall(
        r"^cp (.*) /etc/prometheus/ ", (DOCS / "metrics.md").read_text(encoding="utf-8"), re.MULTILINE
    )

    assert sources.split() == [str(RULES.relative_to(DOCS.parent))]


def used_in(text: str) -> set[str]:
    return set(re.findall(r"\b(?:vision_line|process)_[a-z_]+\b", text))


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DOCS / "grafana" / "vision-line.json").read_text(encoding="utf-8"))
    return found


def place_of(x: int, y: int, w: int, h: int) -> set[tuple[int, int]]:
    return {(column, row) for column in range(x, x + w) for row in range(y, y + h)}


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("check", "rules", RULES), ("test", "rules", TESTS)],
    ids=lambda arguments: " ".join(map(str, arguments[:2])),
)
def test_prometheus_takes_it(arguments: tuple[str | Path, ...]) -> None:
    """The configuration and the rules are valid, and each alert fires when it must and not before."""
    done = promtool(*arguments)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_tests_find_a_broken_rule(tmp_path: Path) -> None:
    """With the camera's alert turned round the tests fail, so they look."""
    rules = RULES.read_text(encoding="utf-8").replace("vision_line_camera_up == 0", "vision_line_camera_up == 1")
    (tmp_path / RULES.name).write_text(rules, encoding="utf-8")
    shutil.copy(TESTS, tmp_path)

    assert promtool("test", "rules", TESTS.name, cwd=tmp_path).returncode == 1


def test_every_alert_is_tested_and_explained() -> None:
    """Each fires in a test, and has a paragraph for who is woken by it."""
    rules, tests = RULES.read_text(encoding="utf-8"), TESTS.read_text(encoding="utf-8")
    alerts = re.findall(r"alert: (\w+)", rules)
    fired = set(re.findall(r"alertname: (\w+)\s+exp_alerts", tests))

    assert len(alerts) >= 5
    assert set(alerts) == fired
    for alert in alerts:
        assert f"\n### {alert}\n" in (DOCS / "metrics.md").read_text(encoding="utf-8")
        assert f"runbook: docs/metrics.md#{alert.lower()}\n" in rules


def test_rules_and_dashboard_ask_for_metrics_that_exist(metrics: set[str]) -> None:
    """A misspelt name would be an alert that never fires, or an empty panel."""
    asked = used_in(RULES.read_text(encoding="utf-8")) | used_in(json.dumps(dashboard()))
    asked |= used_in(TESTS.read_text(encoding="utf-8"))

    assert not asked - metrics
    assert len(asked) > 15


def test_the_dashboard_is_whole() -> None:
    """Panels have their own ids and places, a title, a query for each letter, and the data source that was chosen."""
    panels = dashboard()["panels"]
    places = [place_of(**panel["gridPos"]) for panel in panels]

    assert len({panel["id"] for panel in panels}) == len(panels) >= 10
    assert sum(map(len, places)) == len(set().union(*places))
    assert max(x for place in places for x, _ in place) == 23
    for panel in panels:
        assert panel["title"]
        assert [target["refId"] for target in panel["targets"]] == [chr(65 + n) for n in range(len(panel["targets"]))]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


def test_the_dashboards_queries_are_valid(tmp_path: Path) -> None:
    """Each is checked as a rule of its own, with Grafana's variables filled in."""
    rules = ["groups:", "  - name: dashboard", "    rules:"]
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", "1m")
            rules += [f"      - record: panel_{panel['id']}_{target['refId']}", f"        expr: {json.dumps(query)}"]
    (tmp_path / "dashboard.yml").write_text("\n".join(rules), encoding="utf-8")
    done = promtool("check", "rules", "dashboard.yml", cwd=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
