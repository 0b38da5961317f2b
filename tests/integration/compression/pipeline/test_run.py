# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whole runs on a handful of drawn boards: every stage, every family, killed on the way, refused where they should."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from vision_line.devices.model.failed_gates import NOT_CHECKED
from vision_line.devices.model.model import open_model
from vision_line_compression.bundle.bundle_proof import WHOLLY_FLOAT16_FILE
from vision_line_compression.data.dataset import open_dataset
from vision_line_compression.evaluate.results import Evaluation
from vision_line_compression.prune.plan import PruningPlan
from vision_line_compression.report.card import ReportCard, RowKind

from .conftest import GATES, MOSTLY_FLOAT, STEP, Bench, WriteCheckpoint

#: Of a bundle. Others than these: raise the version of the stage `prove`, else old folders are taken for the new.
FILES = [
    "bundle.json",
    "model.onnx",
    "model.s8-fp16.onnx",
    "model.u8-7bit.onnx",
    "model.w8-fp16.onnx",
    "proof.npz",
]


def files_of(bundle: Path) -> list[str]:
    """Return the names of a bundle's files, but for the float model in float16.

    Of a model that was trained for an epoch that one may find other things, and is left out then.
    """
    return sorted({path.name for path in bundle.iterdir()} - {WHOLLY_FLOAT16_FILE})


@pytest.mark.timeout(900)
def test_a_run_that_is_killed_goes_on_to_bundle_and_report(bench: Bench) -> None:
    """Progressive pruning, teacher, controls; what was done before the kill is not done again."""
    report = '[report]\ncontrols = ["no-teacher", "parent-int8"]\ncorrupted_images = 1\n'
    bench.write(STEP + GATES % "0.9" + report, quantize=MOSTLY_FLOAT)
    command = "from vision_line_compression.cli import main; main()"
    child = subprocess.Popen(
        [sys.executable, "-c", command, "run", str(bench.recipe), *bench.options], stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 200
    while not list(bench.work.glob("recover-*/training/cosine/weights/last.pt")) and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    first_plan = bench.result("plan-step1-*/done.json").stat().st_mtime_ns

    done = bench("run")

    assert done.exit_code == 0, done.output
    assert bench.result("plan-step1-*/done.json").stat().st_mtime_ns == first_plan
    model = open_model(bench.work / "bundle")
    assert (model.name, model.precision, model.input_shapes_hw) == ("tiny", "int8", ((96, 96),))
    assert files_of(bench.work / "bundle") == FILES
    steps = [
        PruningPlan.read(bench.result(f"{name}/plan.json")).costs["macs"] for name in ("plan-step1-*", "plan-[0-9a-f]*")
    ]
    assert steps[0].reference == steps[1].reference  # shares of the original, not of the step before
    assert steps[1].planned <= 0.6 * steps[0].reference < steps[0].planned <= 0.8 * steps[0].reference
    card = ReportCard.read(bench.work / "report.json")
    ran = {row.kind: row.epochs for row in card.rows if row.evaluation is not None}
    assert ran == {
        RowKind.PARENT: 0,
        RowKind.PRUNED: 1,
        RowKind.RECALIBRATED: 1,
        RowKind.RECOVERED: 3,
        RowKind.DISTILLED: 4,
        RowKind.INT8_MAX: 4,
        RowKind.INT8_UNSIGNED: 4,
        RowKind.NO_TEACHER: 4,
        RowKind.PARENT_INT8: 0,
    }
    assert card.headline.macs_ratio <= 0.6
    assert card.robustness is not None
    assert any("15%" in remark for remark in card.remarks)  # an untrained teacher is not clearly better

    bench.write(STEP + GATES % "0.01" + report, quantize=MOSTLY_FLOAT)
    failed = bench("run")

    assert failed.exit_code == 1
    assert "FAILED  params_ratio" in failed.output
    marked = open_model(bench.work / "bundle").bundle
    assert model.bundle is not None
    assert marked is not None
    assert (model.bundle.failed_gates, marked.failed_gates) == ((), ("params_ratio",))
    assert bench("quantize").exit_code == 0  # packs again
    packed = open_model(bench.work / "bundle").bundle
    assert packed is not None
    assert packed.failed_gates == ("params_ratio",)
    assert len(list(bench.work.glob("report-*"))) == 2
    assert len(list(bench.work.glob("distill-*"))) == 1


@pytest.mark.long  # every commit sees v8 become one, and pruning, training and quantization of each
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("no_glance")  # the killed run has it
@pytest.mark.parametrize("network", ["yolov10n", "yolo11n", "yolo26n"])
def test_every_family_becomes_a_bundle(
    network: str, tmp_path: Path, boards: Path, write_board_checkpoint: WriteCheckpoint
) -> None:
    """Stage by stage, with the single commands, in their order."""
    bench = Bench(tmp_path, write_board_checkpoint(network), boards)
    bench.write(macs=0.75)

    for command in ("plan", "prune", "distill", "quantize"):
        done = bench(command)
        assert done.exit_code == 0, done.output

    model = open_model(bench.work / "bundle")
    assert model.precision == "int8"
    assert model.bundle is not None
    assert model.bundle.failed_gates == (NOT_CHECKED,)  # no report was made
    assert files_of(bench.work / "bundle") == FILES
    evaluation = Evaluation.read(bench.result("eval-int8-*/evaluation.json"))
    plan = PruningPlan.read(bench.result("plan-*/plan.json"))
    assert evaluation.model.macs <= 0.76 * plan.costs["macs"].reference
    assert json.loads((bench.work / "bundle" / "bundle.json").read_text())["lineage"]["family"] == plan.family


@pytest.mark.parametrize(
    ("command", "missing"), [("prune", "plan"), ("distill", "prune"), ("quantize", "distill"), ("report", "quantize")]
)
def test_the_order_is_enforced(command: str, missing: str, bench: Bench) -> None:
    """The message names the command that comes before."""
    refused = bench(command)

    assert refused.exit_code == 2
    assert f"expected `vision-line-compress {missing} {bench.recipe}` before" in refused.output


def test_an_infeasible_budget_is_refused_with_the_frontier(bench: Bench) -> None:
    """Before anything is trained."""
    bench.write(macs=0.01)

    refused = bench("run")

    assert refused.exit_code == 2
    assert "prune.budget: found macs 1.0%" in refused.output
    assert refused.output.count("macs ") > 3
    assert not bench.work.exists()


def test_all_faults_of_the_inputs_are_reported_at_once(bench: Bench, tmp_path: Path) -> None:
    """Checkpoint and data set; only the checkpoint is exit 3."""
    bench.options[0] = f"--checkpoint={tmp_path / 'none.pt'}"
    alone = bench("run")
    bench.options[1] = f"--data={tmp_path / 'none.yaml'}"
    both = bench("run")

    assert (alone.exit_code, both.exit_code) == (3, 2)
    assert "none.pt" in alone.output
    assert "none.pt" in both.output
    assert both.output.count("none.yaml") == 1


def test_another_data_set_than_the_models_is_refused(bench: Bench, boards: Path, tmp_path: Path) -> None:
    """By its class names, in their order."""
    other = tmp_path / "other.yaml"
    names = boards.read_text().replace("names:\n  0: ", "names:\n  0: not ")
    other.write_text(names)
    bench.options[1] = f"--data={other}"

    refused = bench("run")

    assert refused.exit_code == 2
    assert "as in" in refused.output


def test_images_that_no_training_takes_are_refused(bench: Bench, boards: Path, tmp_path: Path) -> None:
    """Before anything is done: Ultralytics would leave them out and say so in its log alone."""
    own = shutil.copytree(boards.parent, tmp_path / "own")
    (own / boards.name).write_text(boards.read_text().replace(str(boards.parent), str(own)))
    first, second, *_ = open_dataset(own / boards.name, "train").images
    for image in (first, second):
        Image.new("RGB", (64, 9)).save(image.path)
    bench.options[1] = f"--data={own / boards.name}"

    refused = bench("run")

    assert refused.exit_code == 2
    assert f"{first.path}: found 64 x 9 pixels, expected sides of 10 or more" in " ".join(refused.output.split())
    assert "and 1 more images like it" in refused.output
    assert not bench.work.exists()
