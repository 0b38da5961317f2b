# SPDX-License-Identifier: AGPL-3.0-or-later
"""Trainings that several processes share, tried on CPUs, and stages that compute on another device than the CPU."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import pytest
import torch
from torch import nn

from vision_line.errors import RunError
from vision_line_compression.data.dataset import open_dataset
from vision_line_compression.data.devices import moved
from vision_line_compression.data.tensors import LabelledLoss, input_batches
from vision_line_compression.network.checkpoint import load_checkpoint
from vision_line_compression.prune.apply import recalibrate_batch_norm
from vision_line_compression.training.distillation import Distillation
from vision_line_compression.training.distributed import device_count, first_device
from vision_line_compression.training.fine_tuning import link_training_data, recover
from vision_line_compression.training.schedule import DistillSettings, Phase, Schedule, TrainSettings, plan_distillation

from .conftest import Bench, WriteCheckpoint

TRAIN = TrainSettings(image_size=64, batch=8, threads=1, mosaic=0.0, cache=False, device="cpu,cpu")


def link(boards: Path, folder: Path) -> Path:
    """Return the boards as the trainer reads them."""
    return link_training_data(folder, {split: open_dataset(boards, split) for split in ("train", "val")})


@pytest.mark.timeout(900)
def test_two_processes_train_one_model_with_its_teacher(
    boards: Path, write_board_checkpoint: WriteCheckpoint, tmp_path: Path
) -> None:
    """Each sees half of every batch; progress comes from the first, and nothing of theirs is left."""
    start, settings = write_board_checkpoint("yolov8n"), DistillSettings(epochs=1)
    seen: list[tuple[int, int]] = []
    schedule = plan_distillation(settings, TRAIN, seed=0)

    result = recover(
        start,
        link(boards, tmp_path / "data"),
        schedule,
        tmp_path / "training",
        Distillation(start, settings),
        report=lambda done, total: seen.append((done, total)),
    )

    before, after = load_checkpoint(start).model, load_checkpoint(result).model
    assert not torch.equal(before.get_parameter("model.0.conv.weight"), after.get_parameter("model.0.conv.weight"))
    with (tmp_path / "training" / "distill" / "results.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert float(row["train/kd_attention"]) > 0
    assert seen[-1] == (2, 2)  # of 16 images each has 8, in batches of 4


@pytest.mark.long
@pytest.mark.timeout(900)
def test_what_fails_in_a_process_is_the_trainings_error(
    boards: Path, write_board_checkpoint: WriteCheckpoint, tmp_path: Path
) -> None:
    """The first one's own words, not those of the launcher."""
    data, start = link(boards, tmp_path / "data"), write_board_checkpoint("yolov8n")
    one = next((tmp_path / "data" / "images" / "train").iterdir())
    broken = tmp_path / f"broken{one.suffix}"
    broken.write_bytes(b"no image")
    one.unlink()
    one.symlink_to(broken)
    schedule = Schedule(phases=(Phase(name="only", epochs=1, rate=1e-4),), train=TRAIN)

    with pytest.raises(RunError, match=rf"the trainer cannot use 1 of 16 images.*{broken.name}"):
        recover(start, data, schedule, tmp_path / "training")


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_training_leaves_no_process_and_goes_on(
    by: signal.Signals, boards: Path, write_board_checkpoint: WriteCheckpoint, tmp_path: Path
) -> None:
    """Whatever ends the command: two trainings in one folder would spoil each other's weights."""
    data, start, folder = link(boards, tmp_path / "data"), write_board_checkpoint("yolov8n"), tmp_path / "training"
    schedule = Schedule(phases=(Phase(name="only", epochs=3, rate=1e-4),), train=TRAIN)
    code = (
        "import sys; from pathlib import Path; from vision_line_compression.training.fine_tuning import recover; "
        "from vision_line_compression.training.schedule import Schedule; start, data, schedule, folder = sys.argv[1:]; "
        "recover(Path(start), Path(data), Schedule.model_validate_json(schedule), Path(folder))"
    )
    child = subprocess.Popen([sys.executable, "-c", code, start, data, schedule.model_dump_json(), folder])
    deadline = time.monotonic() + 300
    while not (folder / "only" / "weights" / "last.pt").exists() and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.05)

    child.send_signal(by)
    child.wait()
    while (left := of_training(folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    result = recover(start, data, schedule, folder)

    assert not left
    assert result.exists()
    with (folder / "only" / "results.csv").open(encoding="utf-8") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [1, 2, 3]


def of_training(folder: Path) -> list[int]:
    """Return the processes whose command line names a file of `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue  # it has ended
            if str(folder).encode() in command:
                found.append(int(entry.name))
    return found


def test_a_batch_that_devices_cannot_share_is_refused(bench: Bench) -> None:
    """Before anything is done."""
    text = bench.recipe.read_text()
    bench.recipe.write_text(text.replace("batch = 8\n", 'batch = 9\ndevice = "cpu,cpu"\n'))

    refused = bench("plan")

    assert refused.exit_code == 2
    assert "train.batch: expected a multiple of the 2 devices 'cpu,cpu', found 9" in " ".join(refused.output.split())


def test_batch_norm_is_measured_on_the_training_device(boards: Path, write_board_checkpoint: WriteCheckpoint) -> None:
    """With the same statistics wherever that is; `cpu:0` goes the way of a GPU."""
    images = open_dataset(boards, "train").subset(2)
    models = [load_checkpoint(write_board_checkpoint("yolov8n")).model for _ in range(2)]

    for model, device in zip(models, ("cpu", "cpu:0"), strict=True):
        recalibrate_batch_norm(model, input_batches(images, (64, 64)), device)

    assert all(own.equal(other) for own, other in zip(models[0].buffers(), models[1].buffers(), strict=True))


def test_sensitivity_is_measured_on_the_training_device(boards: Path, write_board_checkpoint: WriteCheckpoint) -> None:
    """The same loss wherever that is."""
    images = open_dataset(boards, "val").subset(1)
    model = load_checkpoint(write_board_checkpoint("yolov8n")).model

    here, there = (LabelledLoss.on(images, (64, 64), device).mean(model) for device in ("cpu", "cpu:0"))

    assert there == pytest.approx(here, rel=1e-6)


def test_a_network_is_on_its_device_only_while_it_works_there() -> None:
    """Also when the work fails: what comes after it expects the CPU."""
    where: list[str] = []

    class Network(nn.Module):
        def to(self, device: str) -> Self:  # type: ignore[override] # all that is asked of it
            where.append(device)
            return self

    with pytest.raises(RuntimeError), moved(Network(), "cuda:1"):
        raise RuntimeError
    with moved(Network(), "cpu"):
        pass

    assert where == ["cuda:1", "cpu"]


@pytest.mark.parametrize(("setting", "first", "count"), [("cpu", "cpu", 1), ("0", "cuda:0", 1), ("2,3", "cuda:2", 2)])
def test_what_one_device_does_is_done_on_the_first(setting: str, first: str, count: int) -> None:
    """Plan, sensitivity and batch norm need one alone."""
    assert (first_device(setting), device_count(setting)) == (first, count)
