# SPDX-License-Identifier: AGPL-3.0-or-later
"""Models of rotated boxes on their way to a bundle: labels as a training reads them, losses, whole runs, refusals."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.fakes.made_once import made_once
from tests.fakes.rotated_set import write_rotated_set

from vision_line.devices.model.model import open_model
from vision_line.devices.model.rotated_boxes import overlaps
from vision_line.devices.model.tasks import ModelTask
from vision_line_compression.data.dataset import open_dataset
from vision_line_compression.data.tensors import LabelledLoss
from vision_line_compression.evaluate.predict import predict
from vision_line_compression.evaluate.results import Evaluation
from vision_line_compression.network.checkpoint import load_checkpoint
from vision_line_compression.prune.plan import PruningPlan
from vision_line_compression.report.card import ReportCard, RowKind
from vision_line_compression.training.fine_tuning import link_training_data

from .conftest import GATES, MOSTLY_FLOAT, Bench, WriteCheckpoint

pytestmark = pytest.mark.filterwarnings("ignore")  # Ultralytics and torch announce their own futures


@pytest.fixture(scope="session")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw six images of bars in each of three splits; returns data.yaml."""
    return made_once(tmp_path_factory, "bars", lambda folder: write_rotated_set(folder, 6)) / "data.yaml"


@pytest.fixture
def rotated_bench(tmp_path: Path, bars: Path, write_board_checkpoint: WriteCheckpoint) -> Bench:
    """A v8n of rotated boxes that was never trained."""
    made = Bench(tmp_path, write_board_checkpoint("yolov8n-obb"), bars)
    made.write()
    return made


def trained_on(data_yaml: Path, split: str, side: int) -> list[NDArray[np.float32]]:
    """Return the rotated boxes (n, 5) of each image as Ultralytics' trainer has them, in pixels of the input."""
    import yaml
    from ultralytics.cfg import get_cfg

    from vision_line_compression.training.training_images import InspectedImages

    content = yaml.safe_load(data_yaml.read_text())
    data = {"names": content["names"], "nc": len(content["names"]), "channels": 3}
    folder = str(data_yaml.parent / "images" / split)
    images: Any = InspectedImages(folder, imgsz=side, augment=False, hyp=get_cfg(), task="obb", data=data)
    return [item["bboxes"].numpy() * np.array([side, side, side, side, 1], np.float32) for item in images]


def test_a_training_sees_the_labelled_rectangles(bars: Path, tmp_path: Path) -> None:
    """And so do sensitivity and Taylor's rating: the very numbers, of upright lines among the others as well."""
    folder = tmp_path / "set"
    data = write_rotated_set(folder, 2, seed=1)
    labels = folder / "labels/train/0.txt"
    labels.write_text(f"{labels.read_text()}2 0.5 0.5 0.25 0.5\n")  # a mixture, which Ultralytics takes for no data set
    dataset = open_dataset(data, "train", task=ModelTask.OBB)

    linked = link_training_data(tmp_path / "linked", {"train": dataset})
    seen = trained_on(linked, "train", 96)
    (batch,) = LabelledLoss.on(dataset, (96, 96)).batches

    assert [len(boxes) for boxes in seen] == [4, 3]
    for number, (image, boxes) in enumerate(zip(dataset.images, seen, strict=True)):
        assert image.rotated is not None
        scaled = image.rotated * np.array([0.6, 0.6, 0.6, 0.6, 1], np.float32)  # 160 x 128 pixels become 96 x 77
        scaled[:, 1] += 9
        own = batch["bboxes"][batch["batch_idx"] == number].numpy() * np.array([96, 96, 96, 96, 1], np.float32)
        best = overlaps(boxes, scaled).max(axis=0)
        assert best == pytest.approx([1.0] * len(scaled), abs=0.03)  # the content's height was rounded
        assert overlaps(boxes, own).max(axis=0) == pytest.approx([1.0] * len(own), abs=0.01)
        assert sorted(boxes[:, 4].tolist()) == pytest.approx(sorted(own[:, 4].tolist()), abs=0.02)


def test_the_labelled_loss_counts_angles(bars: Path, write_board_checkpoint: WriteCheckpoint) -> None:
    """A loss of four parts, repeatable, with gradients in the branch of angles; turned labels cost otherwise."""
    dataset = open_dataset(bars, "val", task=ModelTask.OBB).subset(2)
    model: Any = copy.deepcopy(load_checkpoint(write_board_checkpoint("yolov8n-obb")).model)
    loss = LabelledLoss.on(dataset, (64, 64))
    turned = copy.deepcopy(loss.batches)
    for batch in turned:
        batch["bboxes"][:, 4] += np.pi / 2

    first, second = loss.mean(model), loss.mean(model)

    assert first == second > 0
    assert LabelledLoss(turned).mean(model) != pytest.approx(first, rel=1e-4)
    for _ in loss.differentiate(model):
        assert all(parameter.grad is not None for parameter in model.model[-1].cv4.parameters())


def test_what_is_not_made_for_rotated_boxes_is_refused_before_anything_is_done(
    rotated_bench: Bench, write_board_checkpoint: WriteCheckpoint
) -> None:
    """The message names the stage and the task."""
    rotated_bench.write("[qat]\nepochs = 1\n")
    aware = rotated_bench("plan")
    teacher = write_board_checkpoint("yolov8n")
    text = rotated_bench.recipe.read_text().replace("[qat]\nepochs = 1\n", "")
    rotated_bench.recipe.write_text(text.replace("[distill]\n", f'[distill]\nteacher = "{teacher}"\n'))
    taught = rotated_bench("plan")

    assert (aware.exit_code, taught.exit_code) == (2, 2)
    assert "qat: " in aware.output
    assert "is a model for the task 'obb' (rotated boxes), expected 'detect'" in " ".join(aware.output.split())
    assert "distill.teacher: expected task obb as the student, found detect" in " ".join(taught.output.split())
    assert not rotated_bench.work.exists()


@pytest.mark.long  # every commit sees the stages of rotated boxes one by one, but for the trainings
@pytest.mark.timeout(900)
def test_a_run_leaves_a_bundle_of_rotated_boxes_and_its_report(
    tmp_path: Path, bars: Path, write_board_checkpoint: WriteCheckpoint
) -> None:
    """Pruned, trained, taught, quantized, compared with controls; the application opens it and its proof holds."""
    bench = Bench(tmp_path, write_board_checkpoint("yolov8n-obb"), bars)
    report = '[report]\ncontrols = ["no-teacher", "parent-int8", "narrow"]\ncorrupted_images = 1\n'
    bench.write(GATES % "0.9" + report, macs=0.75, quantize=MOSTLY_FLOAT)

    done = bench("run")

    assert done.exit_code == 0, done.output
    assert_rotated(bench)
    log = bench.result("distill-*/training/distill/results.csv").read_text().splitlines()
    assert "train/kd_angle" in log[0]
    card = ReportCard.read(bench.work / "report.json")
    ran = {row.kind for row in card.rows if row.evaluation is not None}
    assert ran >= {
        RowKind.PARENT,
        RowKind.PRUNED,
        RowKind.DISTILLED,
        RowKind.INT8_MAX,
        RowKind.NO_TEACHER,
        RowKind.NARROW,
    }
    assert any("ProbIoU" in remark for remark in card.remarks)
    images = open_dataset(bars, "test", task=ModelTask.OBB)
    assert len(predict(open_model(bench.work / "bundle"), images, float_execution=True).detections) == 6


@pytest.mark.long  # every commit sees pruning, training and quantization of one family
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("no_glance")  # the whole run has it
@pytest.mark.parametrize("network", ["yolo11n-obb", "yolo26n-obb"])
def test_every_family_becomes_a_bundle_of_rotated_boxes(
    network: str, tmp_path: Path, bars: Path, write_board_checkpoint: WriteCheckpoint
) -> None:
    """Stage by stage, with the single commands, in their order."""
    bench = Bench(tmp_path, write_board_checkpoint(network), bars)
    bench.write(macs=0.75)

    for command in ("plan", "prune", "distill", "quantize"):
        done = bench(command)
        assert done.exit_code == 0, done.output

    assert_rotated(bench)


def assert_rotated(bench: Bench) -> None:
    """Make sure that the bundle of a run is one of rotated boxes with its proof, and as small as was planned."""
    model = open_model(bench.work / "bundle")
    assert (model.head.task, model.precision) == (ModelTask.OBB, "int8")
    assert model.proof is not None
    assert all(reference.places.shape[2] == 7 for reference in model.proof.references.values())
    assert load_checkpoint(bench.result("distill-*/trained.pt")).task is ModelTask.OBB
    evaluation = Evaluation.read(bench.result("eval-int8-max-*/evaluation.json"))
    plan = PruningPlan.read(bench.result("plan-*/plan.json"))
    assert evaluation.model.task == "obb"
    assert evaluation.model.macs <= 0.76 * plan.costs["macs"].reference
