# SPDX-License-Identifier: AGPL-3.0-or-later
"""The bundle in a run's folder: refused until its own recipe's report has judged it, whatever happens in between."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from vision_line.devices.model.failed_gates import NOT_CHECKED, check_gates_passed
from vision_line.devices.model.model import SHIPPED_BUNDLE, open_model
from vision_line.errors import ModelError, RunError
from vision_line.ports import ProgressCallback
from vision_line_compression.bundle.bundle_writer import amend_bundle
from vision_line_compression.evaluate.gates import Gate
from vision_line_compression.pipeline.commands import CompressionSession
from vision_line_compression.pipeline.context import Artifact, TrainedModel
from vision_line_compression.pipeline.graph import CompressionPipeline
from vision_line_compression.pipeline.recipe import LoadedRecipe, load_recipe
from vision_line_compression.pipeline.stage import Stage, Workspace
from vision_line_compression.pipeline.steps.pack import BUNDLE
from vision_line_compression.progress import ProgressDisplay
from vision_line_compression.report.card import REPORT_FILE, ReportCard
from vision_line_compression.report.page import PAGE_FILE

REPOSITORY = Path(__file__).parents[4]
CARD = ReportCard.read(REPOSITORY / "docs" / "reports" / "demo.json")
GATE = Gate(name="map50_drop", limit=0.5, found=0.4, passed=True)


def session(folder: Path, loaded: LoadedRecipe, *gates: Gate, fails: bool = False, name: str = "mine") -> Any:
    """Return the commands of a recipe whose report says this of its gates, or fails while it is made."""

    def bundle(made: Path, _progress: ProgressCallback) -> list[Path]:
        copy = shutil.copytree(SHIPPED_BUNDLE, made / BUNDLE, dirs_exist_ok=True)
        amend_bundle(copy, {"name": name, "failed_gates": (NOT_CHECKED,)})  # as the stages of a recipe leave it
        return sorted(path for path in copy.iterdir() if path.is_file())

    def report(made: Path, _progress: ProgressCallback) -> list[Path]:
        if fails:
            raise RunError("the disk is full")
        CARD.model_copy(update={"gates": gates}).write(made / REPORT_FILE)
        (made / PAGE_FILE).write_text("a page")
        return [made / REPORT_FILE, made / PAGE_FILE]

    checkpoint = folder / "float.pt"
    checkpoint.write_bytes(b"weights")
    packed = Stage("bundle", bundle, {"name": name})
    stages = SimpleNamespace(
        bundle=packed,
        quantized=packed,
        report=Stage("report", report, {"gates": [gate.name for gate in gates], "fails": fails}, after=(packed,)),
        finished=TrainedModel(Artifact(checkpoint), 0),
    )
    return CompressionSession(
        cast("CompressionPipeline", stages), Workspace(folder / "work"), ProgressDisplay(), loaded
    )


@pytest.fixture(scope="module")
def loaded() -> LoadedRecipe:
    """The demo's recipe."""
    return load_recipe(REPOSITORY / "compression" / "recipes" / "demo.toml", Path("parent.pt"), Path("data.yaml"))


def marks(folder: Path) -> tuple[str, ...]:
    """Return what the bundle says of its gates."""
    found = open_model(folder / "work" / BUNDLE).bundle
    assert found is not None
    return found.failed_gates


def test_a_bundle_that_was_only_packed_is_refused(tmp_path: Path, loaded: LoadedRecipe) -> None:
    """Until the report passes it."""
    mine = session(tmp_path, loaded, GATE)

    mine.pack()
    with pytest.raises(ModelError, match="was not checked yet"):
        check_gates_passed(open_model(tmp_path / "work" / BUNDLE), allowed=False)

    assert mine.report() == 0
    check_gates_passed(open_model(tmp_path / "work" / BUNDLE), allowed=False)


def test_a_failed_mark_stays_until_another_report_is_whole(tmp_path: Path, loaded: LoadedRecipe) -> None:
    """Packed again for a changed report it is not checked yet, also where that report is never made."""
    failed = GATE.model_copy(update={"name": "miss_rate", "passed": False})
    first = session(tmp_path, loaded, failed)
    first.pack()
    assert first.report() == 1
    assert marks(tmp_path) == ("miss_rate",)

    broken = session(tmp_path, loaded, GATE, fails=True)
    broken.pack()
    with pytest.raises(RunError):
        broken.report()

    assert marks(tmp_path) == (NOT_CHECKED,)
    again = session(tmp_path, loaded, failed)
    again.pack()
    assert marks(tmp_path) == ("miss_rate",)


def test_a_report_marks_its_own_bundle(tmp_path: Path, loaded: LoadedRecipe) -> None:
    """Where another recipe's lies in the folder, it is replaced by the one that was judged."""
    mine, other = (session(tmp_path, loaded, GATE, name=name) for name in ("mine", "other"))
    mine.pack()
    mine.report()
    other.pack()
    assert (open_model(tmp_path / "work" / BUNDLE).name, marks(tmp_path)) == ("other", (NOT_CHECKED,))

    mine.report()

    assert (open_model(tmp_path / "work" / BUNDLE).name, marks(tmp_path)) == ("mine", ())


def test_a_report_outlives_the_folders_before_it(tmp_path: Path, loaded: LoadedRecipe) -> None:
    """Those of trainings, and the bundle's own, may be deleted to save space; the verdict stays with what is shown."""
    mine = session(tmp_path, loaded, GATE)
    mine.pack()
    mine.pipeline.finished.checkpoint.path.unlink()

    assert mine.report() == 0
    assert marks(tmp_path) == ()
    shutil.rmtree(mine.workspace.folder(mine.pipeline.bundle))
    assert mine.report() == 0
    assert marks(tmp_path) == ()
