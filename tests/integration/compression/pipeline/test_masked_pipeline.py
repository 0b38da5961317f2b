# SPDX-License-Identifier: AGPL-3.0-or-later
"""Models of masks on their way to a bundle: labels as a training reads them, losses, whole runs, refusals."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tests.fakes.made_once import made_once
from tests.fakes.masked_set import write_masked_set

from vision_line.devices.model.heads import HeadKind
from vision_line.devices.model.model import open_model
from vision_line.devices.model.tasks import ModelTask
from vision_line_compression.data.dataset import open_dataset
from vision_line_compression.data.tensors import LabelledLoss
from vision_line_compression.evaluate.predict import predict
from vision_line_compression.evaluate.results import Evaluation
from vision_line_compression.network.checkpoint import load_checkpoint
from vision_line_compression.prune.plan import PruningPlan
from vision_line_compression.quantize.encodings import SIGNED, UNSIGNED
from vision_line_compression.report.card import ReportCard, RowKind
from vision_line_compression.training.fine_tuning import link_training_data

from .conftest import GATES, MOSTLY_FLOAT, Bench, WriteCheckpoint

pytestmark = pytest.mark.filterwarnings("ignore")  # Ultralytics and torch announce their own futures


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw six images of shapes in each of three splits; returns data.yaml."""
    return made_once(tmp_path_factory, "shapes", lambda folder: write_masked_set(folder, 6)) / "data.yaml"


def trained_on(data_yaml: Path, split: str, side: int) -> list[dict[str, torch.Tensor]]:
    """Return the boxes (n, 4), classes (n, 1) and masks (1, h, w) of each image as Ultralytics' trainer has them."""
    from ultralytics.cfg import get_cfg

    from vision_line_compression.training.training_images import InspectedImages

    content = yaml.safe_load(data_yaml.read_text())
    data = {"names": content["names"], "nc": len(content["names"]), "channels": 3}
    folder = str(data_yaml.parent / "images" / split)
    images: Any = InspectedImages(folder, imgsz=side, augment=False, hyp=get_cfg(), task="segment", data=data)
    return list(images)


def test_a_training_sees_the_labelled_masks(tmp_path: Path) -> None:
    """And so do sensitivity and Taylor's rating; a line of centre and sides among the others is a rectangle."""
    folder = tmp_path / "set"
    data = write_masked_set(folder, 2, seed=1)
    labels = folder / "labels/train/0.txt"
    labels.write_text(f"{labels.read_text()}2 0.5 0.5 0.25 0.5\n")  # a mixture, which Ultralytics takes for no data set
    (folder / "labels/train/1.txt").write_text("")
    dataset = open_dataset(data, "train", task=ModelTask.SEGMENT)

    seen = trained_on(link_training_data(tmp_path / "linked", {"train": dataset}), "train", 96)
    (batch,) = LabelledLoss.on(dataset, (96, 96)).batches

    assert [len(one["bboxes"]) for one in seen] == [3, 0]
    assert batch["masks"].shape == (2, 24, 24)
    for number, one in enumerate(seen):
        own = batch["batch_idx"] == number
        assert torch.equal(one["cls"], batch["cls"][own])
        # Ultralytics puts a thousand points on each polygon and cuts them to whole pixels
        assert batch["bboxes"][own].numpy() == pytest.approx(one["bboxes"].numpy(), abs=0.02)
        assert (batch["masks"][number] == one["masks"][0]).float().mean() > 0.96
    assert set(batch["masks"][0].ravel().tolist()) == {0.0, 1.0, 2.0, 3.0}


def test_polygons_are_boxes_to_other_models(shapes: Path) -> None:
    """A detection model learns the box around each, as ever; the data set of masks is another by its hash."""
    boxes, masks = (open_dataset(shapes, "val", task=task) for task in (ModelTask.DETECT, ModelTask.SEGMENT))

    for plain, outlined in zip(boxes.images, masks.images, strict=True):
        np.testing.assert_array_equal(plain.xyxy, outlined.xyxy)
        assert plain.polygons == ()
        assert len(outlined.polygons) == len(outlined.class_id)
    assert boxes.sha256() != masks.sha256()


@pytest.mark.parametrize("network", ["yolov8n-seg", "yolo26n-seg"])
def test_the_labelled_loss_counts_masks(network: str, tmp_path: Path, write_checkpoint: WriteCheckpoint) -> None:
    """Repeatable, with gradients in prototypes and coefficients; other masks in the same boxes cost otherwise."""
    data = write_masked_set(tmp_path / "set", 2, classes=("scratch", "dent"))
    dataset = open_dataset(data, "val", task=ModelTask.SEGMENT)
    model: Any = copy.deepcopy(load_checkpoint(write_checkpoint(network)).model)
    loss = LabelledLoss.on(dataset, (64, 64))
    filled = copy.deepcopy(loss.batches)
    for batch in filled:
        batch["masks"][:] = 1

    first, second = loss.mean(model), loss.mean(model)

    assert first == second > 0
    assert LabelledLoss(filled).mean(model) != pytest.approx(first, rel=1e-4)
    for _ in loss.differentiate(model):
        learns = [model.model[-1].cv4, model.model[-1].proto.cv1, model.model[-1].proto.upsample]
        assert all(parameter.grad is not None for part in learns for parameter in part.parameters())


def test_what_is_not_made_for_masks_is_refused_before_anything_is_done(
    tmp_path: Path, shapes: Path, write_board_checkpoint: WriteCheckpoint
) -> None:
    """The message names the stage and the task."""
    bench = Bench(tmp_path, write_board_checkpoint("yolov8n-seg"), shapes)
    bench.write("[qat]\nepochs = 1\n")
    aware = bench("plan")
    bench.write('[report]\ncontrols = ["parent-int8-nncf"]\n')
    nncf = bench("plan")
    bench.write()
    teacher = write_board_checkpoint("yolov8n")
    text = bench.recipe.read_text()
    bench.recipe.write_text(text.replace("[distill]\n", f'[distill]\nteacher = "{teacher}"\n'))
    taught = bench("plan")

    assert (aware.exit_code, nncf.exit_code, taught.exit_code) == (2, 2, 2)
    for refused, where in ((aware, "qat: "), (nncf, "report.controls: ")):
        assert where in refused.output
        assert "is a model for the task 'segment' (segmentation: masks of objects)" in " ".join(refused.output.split())
    assert "distill.teacher: expected task segment as the student, found detect" in " ".join(taught.output.split())
    assert not bench.work.exists()


@pytest.mark.long  # every commit sees the stages of masks one by one, but for the trainings
@pytest.mark.timeout(900)
def test_a_run_leaves_a_bundle_of_masks_and_its_report(
    tmp_path: Path, shapes: Path, write_board_checkpoint: WriteCheckpoint
) -> None:
    """Pruned, trained, taught, quantized, compared with controls; the application opens it and its proof holds."""
    bench = Bench(tmp_path, write_board_checkpoint("yolov8n-seg"), shapes)
    report = '[report]\ncontrols = ["no-teacher", "parent-int8"]\ncorrupted_images = 1\n'
    bench.write(GATES % "0.97" + report, macs=0.75, quantize=MOSTLY_FLOAT)

    done = bench("run")

    assert done.exit_code == 0, done.output
    assert_masked(bench)
    log = bench.result("distill-*/training/distill/results.csv").read_text().splitlines()
    assert "train/seg_loss" in log[0]
    assert "train/kd_attention" in log[0]
    card = ReportCard.read(bench.work / "report.json")
    measured = [row.evaluation for row in card.rows if row.evaluation is not None]
    assert len(measured) >= 6
    assert all(evaluation.accuracy.masks is not None for evaluation in measured)
    assert card.row(RowKind.PRUNED).difference is not None
    assert any(gate.name == "mask_map50_95_drop" for gate in card.gates)
    assert any("counted by boxes" in remark for remark in card.remarks)
    assert "masks,<br>mAP50-95" in (bench.work / "report.html").read_text()
    images = open_dataset(shapes, "test", task=ModelTask.SEGMENT)
    found = predict(open_model(bench.work / "bundle"), images, float_execution=True)
    assert found.mask_overlaps is not None
    assert [overlaps.shape[1] for overlaps in found.mask_overlaps] == [2] * 6


@pytest.mark.long  # every commit sees pruning, training and quantization of one family
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("no_glance")  # the whole run has it
@pytest.mark.parametrize("network", ["yolo11n-seg", "yolo26n-seg"])
def test_every_family_becomes_a_bundle_of_masks(
    network: str, tmp_path: Path, shapes: Path, write_board_checkpoint: WriteCheckpoint
) -> None:
    """Stage by stage, with the single commands, in their order."""
    bench = Bench(tmp_path, write_board_checkpoint(network), shapes)
    bench.write(macs=0.75)

    for command in ("plan", "prune", "distill", "quantize"):
        done = bench(command)
        assert done.exit_code == 0, done.output

    assert_masked(bench)


def assert_masked(bench: Bench) -> None:
    """Make sure that the bundle of a run is one of masks with its proof, and as small as was planned."""
    model = open_model(bench.work / "bundle")
    assert (model.head, model.precision) == (HeadKind.YOLOV8_SEG, "int8")
    assert model.proof is not None
    assert {variant.name for variant in model.variants} == {SIGNED.name, UNSIGNED.name}
    assert not model.gpu_variants
    assert all(reference.masks is not None for reference in model.proof.references.values())
    assert load_checkpoint(bench.result("distill-*/trained.pt")).task is ModelTask.SEGMENT
    evaluation = Evaluation.read(bench.result("eval-int8-max-*/evaluation.json"))
    plan = PruningPlan.read(bench.result("plan-*/plan.json"))
    assert evaluation.model.task == "segment"
    assert evaluation.accuracy.masks is not None
    assert evaluation.model.macs <= 0.76 * plan.costs["macs"].reference
