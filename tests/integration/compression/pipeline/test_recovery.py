# SPDX-License-Identifier: AGPL-3.0-or-later
"""Trainings that keep a pruned model pruned: phases, teachers, bfloat16, interruptions, and the checks on all that."""

from __future__ import annotations

import copy
import csv
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vision_line.errors import ConfigError, ModelError, RunError
from vision_line_compression.data.dataset import label_path, open_dataset
from vision_line_compression.data.tensors import LabelledLoss, input_batches
from vision_line_compression.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from vision_line_compression.prune.apply import apply_plan, recalibrate_batch_norm
from vision_line_compression.prune.planner import plan_pruning
from vision_line_compression.prune.settings import Budget, PruneSettings
from vision_line_compression.training.distillation import Distillation
from vision_line_compression.training.fine_tuning import check_widths, link_training_data, recover
from vision_line_compression.training.schedule import (
    DistillMethod,
    DistillSettings,
    Phase,
    RecoverSettings,
    Schedule,
    TrainSettings,
    plan_distillation,
    plan_fine_tuning,
)
from vision_line_compression.training.trainer import add_sparsity

from .conftest import WriteCheckpoint

TRAIN = TrainSettings(image_size=96, batch=8, threads=1, mosaic=0.0)
SPLITS = ("train", "val")


@pytest.fixture(scope="module")
def linked(boards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The boards as the trainer reads them."""
    splits = {split: open_dataset(boards, split) for split in SPLITS}
    return link_training_data(tmp_path_factory.mktemp("linked"), splits)


@pytest.fixture(scope="module")
def parent(write_board_checkpoint: WriteCheckpoint) -> Checkpoint:
    """An untrained v8n."""
    return load_checkpoint(write_board_checkpoint("yolov8n"))


@pytest.fixture(scope="module")
def pruned(parent: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of its operations."""
    settings = PruneSettings(budget=Budget(macs=0.5), method="uniform", size_hw=(96, 96))
    path = tmp_path_factory.mktemp("pruned") / "pruned.pt"
    save_checkpoint(apply_plan(parent, plan_pruning(parent, settings), verify=False), path, parent)
    return path


def parameters(path: Path) -> int:
    """Count those of a checkpoint."""
    return sum(parameter.numel() for parameter in load_checkpoint(path).model.parameters())


def rows(table: Path) -> list[dict[str, str]]:
    """Read a training's log."""
    with table.open(encoding="utf-8") as file:
        return [{key.strip(): value for key, value in row.items()} for row in csv.DictReader(file)]


def test_the_pruned_widths_are_trained_and_kept(pruned: Path, parent: Checkpoint, linked: Path, tmp_path: Path) -> None:
    """Two phases, progress to the end, weights that moved, and a checkpoint that plain Ultralytics opens."""
    from ultralytics.models import YOLO

    seen: list[tuple[int, int]] = []
    schedule = plan_fine_tuning(RecoverSettings(epochs=2, settle_share=0.5), TRAIN, None, seed=0)

    result = recover(pruned, linked, schedule, tmp_path, report=lambda done, total: seen.append((done, total)))

    before, after = load_checkpoint(pruned).model, load_checkpoint(result).model
    assert parameters(result) == parameters(pruned) < parameters(parent.path)
    assert not torch.equal(before.get_parameter("model.0.conv.weight"), after.get_parameter("model.0.conv.weight"))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [len(rows(tmp_path / name / "results.csv")) for name in ("settle", "cosine")] == [1, 1]
    plain: Any = YOLO(str(result)).model
    assert sum(parameter.numel() for parameter in plain.parameters()) == parameters(pruned)
    assert not list(tmp_path.rglob("last.pt"))


def test_a_finished_training_is_not_repeated(pruned: Path, linked: Path, tmp_path: Path) -> None:
    """The result is the same file."""
    schedule = Schedule(phases=(Phase(name="only", epochs=1, rate=1e-4),), train=TRAIN)
    times = [recover(pruned, linked, schedule, tmp_path).stat().st_mtime_ns for _ in range(2)]

    assert times[0] == times[1]


@pytest.mark.parametrize("method", [DistillMethod.LOGITS, DistillMethod.SCORE_L2])
def test_a_larger_teacher_in_bfloat16(
    method: DistillMethod, pruned: Path, linked: Path, write_board_checkpoint: WriteCheckpoint, tmp_path: Path
) -> None:
    """The parts of the loss are logged; neither teacher nor projector are in the result."""
    settings = DistillSettings(epochs=1, method=method)
    schedule = plan_distillation(settings, TRAIN.model_copy(update={"precision": "bf16"}), seed=0)

    result = recover(pruned, linked, schedule, tmp_path, Distillation(write_board_checkpoint("yolov8s"), settings))

    (row,) = rows(tmp_path / "distill" / "results.csv")
    assert float(row["train/kd_attention" if method is DistillMethod.LOGITS else "train/kd_feature"]) > 0
    assert parameters(result) == parameters(pruned)


CHILD = """
import sys
from pathlib import Path
from vision_line_compression.training.fine_tuning import recover
from vision_line_compression.training.schedule import Schedule
checkpoint, data, schedule, folder = sys.argv[1:]
recover(Path(checkpoint), Path(data), Schedule.model_validate_json(schedule), Path(folder))
"""


def test_a_killed_training_goes_on_with_the_next_epoch(pruned: Path, linked: Path, tmp_path: Path) -> None:
    """Killed without warning after an epoch; a checkpoint that was cut off in writing is no obstacle."""
    schedule = Schedule(phases=(Phase(name="only", epochs=4, rate=1e-4),), train=TRAIN)
    table, last = tmp_path / "only" / "results.csv", tmp_path / "only" / "weights" / "last.pt"
    command = [sys.executable, "-c", CHILD, pruned, linked, schedule.model_dump_json(), tmp_path]
    child = subprocess.Popen([str(word) for word in command])
    deadline = time.monotonic() + 120
    while not (last.with_name("previous.pt").exists() and last.exists()) and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    epochs_before = len(rows(table))
    last.write_bytes(last.read_bytes()[:1000])

    result = recover(pruned, linked, schedule, tmp_path)

    epochs = [int(row["epoch"]) for row in rows(table)]
    assert 1 <= epochs_before < 4
    assert epochs[-1] == 4
    assert epochs[epochs_before] > 1  # not from the beginning
    assert parameters(result) == parameters(pruned)


def test_another_data_set_is_refused(pruned: Path, linked: Path, tmp_path: Path) -> None:
    """A class count that differs would rebuild the head."""
    text = linked.read_text().replace("names:\n", "names:\n  6: ghost\n")
    other = linked.with_name("other.yaml")
    other.write_text(text)
    schedule = Schedule(phases=(Phase(name="only", epochs=1, rate=1e-4),), train=TRAIN)

    with pytest.raises(ConfigError, match="ghost"):
        recover(pruned, other, schedule, tmp_path)


def test_a_model_that_changed_is_noticed(parent: Checkpoint, pruned: Path) -> None:
    """What the stock trainer does silently: full width again."""
    with pytest.raises(RunError, match=r"training changed the model: .*expected .*found"):
        check_widths(load_checkpoint(pruned).model, parent.model)


def test_links_keep_the_users_folder_clean(boards: Path, linked: Path) -> None:
    """Ultralytics' caches lie beside the links; the trainer is given the very boxes that were read."""
    splits = {split: open_dataset(boards, split) for split in SPLITS}
    again = link_training_data(linked.parent, splits)

    assert again == linked
    assert not list(boards.parent.rglob("*.cache"))
    found = open_dataset(linked, "train")
    for image, own in zip(found.images, splits["train"].images, strict=True):
        assert image.class_id.tolist() == own.class_id.tolist()
        np.testing.assert_allclose(image.xyxy, own.xyxy, atol=1e-3)


def test_labels_that_ultralytics_refuses_are_trained_on(boards: Path, pruned: Path, tmp_path: Path) -> None:
    """A box beside a polygon, and no image less for it; an image that the trainer cannot use ends the training."""
    own = shutil.copytree(boards.parent, tmp_path / "own")
    (own / boards.name).write_text(boards.read_text().replace(str(boards.parent), str(own)))
    first = open_dataset(own / boards.name, "train").images[0].path
    label_path(first).write_text("0 0.5 0.5 0.2 0.2\n1 0.1 0.2 0.5 0.8 0.3 0.4\n")
    splits = {split: open_dataset(own / boards.name, split) for split in SPLITS}
    schedule = Schedule(phases=(Phase(name="only", epochs=1, rate=1e-4),), train=TRAIN)
    data_yaml = link_training_data(tmp_path / "data", splits)
    first.write_bytes(first.read_bytes()[:200])  # the header is whole, so that only the decoder notices

    with pytest.raises(RunError, match=r"cannot use 1 of 16 images.*the first is " + re.escape(str(first))):
        recover(pruned, data_yaml, schedule, tmp_path / "refused")

    shutil.copy(splits["train"].images[1].path, first)
    recover(pruned, data_yaml, schedule, tmp_path / "trained")
    assert "ignoring corrupt" not in (tmp_path / "trained/only/train.log").read_text()


def test_batch_norm_statistics_are_plain_averages(boards: Path) -> None:
    """Over all batches, whatever the statistics were; weights, momenta and mode stay."""
    convolution, layer = nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)
    mean: Any = layer.running_mean
    mean.fill_(99.0)
    weight, momentum = convolution.weight.clone(), layer.momentum
    batches = list(input_batches(open_dataset(boards, "train"), (32, 32)))

    images = recalibrate_batch_norm(nn.Sequential(convolution, layer), batches)

    expected = torch.stack([convolution(batch).mean(dim=(0, 2, 3)) for batch in batches]).mean(dim=0)
    assert images == 16
    torch.testing.assert_close(layer.running_mean, expected.detach())
    assert torch.equal(convolution.weight, weight)
    assert layer.momentum == momentum
    assert not layer.training


def test_nothing_to_recalibrate_is_an_error() -> None:
    """A fused model, or no images."""
    with pytest.raises(ModelError, match="fused"):
        recalibrate_batch_norm(nn.Conv2d(3, 2, 1), [torch.zeros(1, 3, 4, 4)])
    with pytest.raises(ModelError, match="images"):
        recalibrate_batch_norm(nn.BatchNorm2d(2), [])


def test_the_labelled_loss_leaves_the_model_as_it_was(parent: Checkpoint, boards: Path) -> None:
    """It is repeatable, and a damaged model scores another value."""
    loss = LabelledLoss.on(open_dataset(boards, "val"), (64, 64))
    model: Any = copy.deepcopy(parent.model)
    arguments = model.args

    first, second = loss.mean(model), loss.mean(model)
    model.model[-1].cv3[0][-1].bias.data += 5.0  # sees everything everywhere

    assert first == second > 0
    assert model.args is arguments
    assert loss.mean(model) > first

    scales = [layer.weight for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    examples = 0
    for _ in loss.differentiate(model):
        assert all(scale.grad is not None for scale in scales)
        examples += 1
    assert examples == sum(len(batch["img"]) for batch in loss.batches) > 1


def test_sparsity_pulls_scales_towards_zero() -> None:
    """The subgradient of |gamma|."""
    layer = nn.BatchNorm2d(3)
    layer.weight.data = torch.tensor([0.5, -0.5, 0.0])
    layer.weight.grad = torch.zeros(3)

    add_sparsity(nn.Sequential(layer), 0.01)

    assert layer.weight.grad.tolist() == pytest.approx([0.01, -0.01, 0.0])
