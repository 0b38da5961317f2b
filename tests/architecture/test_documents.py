# SPDX-License-Identifier: AGPL-3.0-or-later
"""What README and docs/ promise, checked against the code."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import typer

from vision_line.cli.main import cli
from vision_line.config.load import load_config
from vision_line.errors import ExitCode, SourceErrorCode
from vision_line.frames import CameraState, DropCause, Verdict
from vision_line.inspection.coverage.causes import (
    BUILDING,
    CAPACITY,
    CRASHED,
    DECODING,
    LOG,
    NODE_ELSEWHERE,
    NODE_LOST,
    NODE_MOVING,
    OFF,
    PAUSED,
    RATE_CAP,
    SLOW,
    STARTING,
    STOPPED,
)
from vision_line.ports import DeviceDescription, LogStatus
from vision_line.telemetry.exposition import Exposition
from vision_line.telemetry.metrics import ModelFacts, RunFacts, RunMetrics
from vision_line.telemetry.reading import Reading

ROOT = Path(__file__).parents[2]
CAUSES = (
    CAPACITY,
    DECODING,
    RATE_CAP,
    SLOW,
    LOG,
    STARTING,
    BUILDING,
    STOPPED,
    OFF,
    CRASHED,
    PAUSED,
    NODE_LOST,
    NODE_MOVING,
    NODE_ELSEWHERE,
)
DOCUMENTS = [
    pytest.param(path, id=str(path.relative_to(ROOT)))
    for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
]
MODELS = [
    (model, "docs/configuration.md")
    for model in (
        "Stream",
        "StreamSettings",
        "ModelSettings",
        "RecordSettings",
        "ReviewSettings",
        "ChallengeFileSettings",
        "DashboardSettings",
        "MetricsSettings",
        "SimulatorSettings",
    )
]
OUTPUT_MODELS = ["OutputSettings", "MqttOutput", "WebhookOutput", "OpcUaOutput"]


def page(name: str) -> str:
    """Return the text of a document."""
    return (ROOT / name).read_text(encoding="utf-8")


def words_of_sentences(text: str) -> list[int]:
    """Return how many words each sentence of prose has; code, tables and headings have none."""
    prose = re.sub(r"```.*?```|^[|#!].*?$", "\n\n", text, flags=re.DOTALL | re.MULTILINE)
    sentences = re.split(r"(?<=[.:!?])\s+|\n\s*\n|\n- ", prose)
    return [len(sentence.split()) for sentence in sentences if len(sentence.split()) > 1]


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as code hosts derive them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def commands() -> list[tuple[str, Any]]:
    """Return every command with its full name; the main job first."""
    return list(below("vision-line", typer.main.get_command(cli)))


def below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Yield a command and, where it is a group, all below it."""
    yield name, command
    for inner, one in getattr(command, "commands", {}).items():
        yield from below(f"{name} {inner}", one)


def test_key_tables_are_those_of_the_models() -> None:
    """Every key, default and meaning in README and docs/ is the code's."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "write_key_tables.py", "--check"], text=True, capture_output=True, check=False
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("name", "command"), commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_and_option_is_documented(name: str, command: Any) -> None:
    """The row of a command in docs/commands.md lists its options."""
    rows = [line for line in page("docs/commands.md").splitlines() if line.startswith(f"| `{name}")]
    assert rows, name
    options = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
    missing = [option for option in options if option not in rows[0] and option not in {"--help", "--version"}]

    assert not missing, rows[0]


@pytest.mark.parametrize(("model", "document"), MODELS)
def test_every_key_is_documented(model: str, document: str) -> None:
    """The page has the model's table of keys; another test compares its rows."""
    assert f"<!-- keys: vision_line.config.models:{model} -->" in page(document)


@pytest.mark.parametrize("model", OUTPUT_MODELS)
def test_every_key_of_outputs_is_documented(model: str) -> None:
    """They have a file of models of their own."""
    assert f"<!-- keys: vision_line.config.output_settings:{model} -->" in page("docs/configuration.md")


def test_every_key_of_lanes_is_documented() -> None:
    """They too."""
    assert "<!-- keys: vision_line.config.lane_settings:LaneSettings -->" in page("docs/configuration.md")


@pytest.mark.parametrize("model", ["FleetSettings", "PlantCamera"])
def test_every_key_of_plants_is_documented(model: str) -> None:
    """They have a file of their own as well."""
    assert f"<!-- keys: vision_line.config.plant_settings:{model} -->" in page("docs/configuration.md")


def test_every_key_of_recipes_is_documented() -> None:
    """They have a file of their own too."""
    assert "<!-- keys: vision_line.config.recipe_settings:RecipeSettings -->" in page("docs/configuration.md")


def test_every_metric_is_documented() -> None:
    """By its name as a query has it."""
    facts = RunFacts("0", DeviceDescription("cpu", "", "", (), 1, 1), ModelFacts("m", "", "", ()), 0.0, 0.0)
    run = RunMetrics(facts)
    text = Exposition(lambda: Reading(run.totals(1.0), LogStatus())).text().decode()
    names = re.findall(r"^# TYPE (vision_line_\w+)", text, re.MULTILINE)

    assert not [name for name in names if f"`{name}`" not in page("docs/metrics.md")]
    assert len(names) > 20


def test_readme_is_short_and_plain() -> None:
    """A newcomer reads it whole; the reference is in docs/."""
    text = page("README.md")

    assert len(text.splitlines()) <= 240
    assert median(words_of_sentences(text)) <= 14


def test_readmes_example_configuration_is_valid(tmp_path: Path) -> None:
    """A newcomer copies it."""
    (example,) = re.findall(r"```toml\n(.*?)```", page("README.md"), re.DOTALL)
    path = tmp_path / "streams.toml"
    path.write_text(example, encoding="utf-8")

    loaded = load_config(path, environment={"CAM_USER": "u", "CAM_PASSWORD": "p"})
    assert [stream.name for stream in loaded.config.stream] == ["line1-cap"]


def test_every_state_code_and_cause_is_explained() -> None:
    """What the dashboard shows can be looked up."""
    text = page("docs/dashboard.md")
    words = [*CameraState, *SourceErrorCode, *DropCause, *Verdict]

    assert not [word for word in words if f"`{word}`" not in text and f"| {word} |" not in text]


@pytest.mark.parametrize("document", ["docs/dashboard.md", "docs/records.md"])
def test_every_cause_of_an_interval_is_explained(document: str) -> None:
    """Whatever the ledger writes as a cause is written down."""
    text = page(document)

    assert not [cause for cause in CAUSES if f"`{cause}`" not in text]


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_code_is_explained(code: ExitCode) -> None:
    """Scripts and service managers look it up."""
    assert re.search(rf"^\| {code:d} \|", page("docs/commands.md"), re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: Path) -> None:
    """Every relative link of README and docs/ is a file of the repository, and its anchor a heading there."""
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", document.read_text(encoding="utf-8")):
        file = document.parent / target if target else document
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


def test_each_item_of_owasps_list_names_tests_that_exist() -> None:
    """So that none goes unseen when a test is renamed or removed."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| A(\d\d) .*$", text, re.MULTILINE)
    assert rows == [f"{number:02}" for number in range(1, 11)]
    for row in re.findall(r"^\| A\d\d .*$", text, re.MULTILINE):
        named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", row)
        assert named, row
        for path, test in named:
            folder = ROOT if path.startswith("tests/") else ROOT / "tests" / "unit" / "desk"
            assert f"def {test}(" in (folder / path).read_text(encoding="utf-8"), (path, test)


def test_each_decision_has_a_number_of_its_own() -> None:
    """0001, 0002, ..."""
    numbers = [int(path.name[:4]) for path in (ROOT / "docs" / "decisions").glob("*.md")]

    assert len(set(numbers)) == len(numbers)
