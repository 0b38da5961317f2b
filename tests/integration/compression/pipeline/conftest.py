# SPDX-License-Identifier: AGPL-3.0-or-later
"""Drawn boards, untrained networks for their defects, and a recipe for them, small enough to be trained in seconds."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.fakes import board_checkpoint
from typer.testing import CliRunner, Result

from vision_line_compression.cli import cli
from vision_line_compression.data.dataset import open_dataset
from vision_line_compression.data.tensors import input_batches
from vision_line_compression.network import onnx_file
from vision_line_compression.network.checkpoint import load_checkpoint, save_checkpoint
from vision_line_compression.prune.apply import recalibrate_batch_norm

#: Writes an untrained checkpoint of a network, such as "yolov8n", for the boards' classes.
WriteCheckpoint = Callable[[str], Path]


@pytest.fixture(scope="session")
def write_board_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> WriteCheckpoint:
    """Write untrained checkpoints, once for each network."""
    folder = tmp_path_factory.mktemp("board-checkpoints")

    def write(network: str) -> Path:
        path = folder / f"{network}.pt"
        if not path.exists():
            board_checkpoint.write_board_checkpoint(network, path)
        return path

    return write


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what was exported so far."""
    return tmp_path_factory.mktemp("exported")


@pytest.fixture(autouse=True, scope="module")
def exported_once(exported: Path) -> Iterator[None]:
    """Have Ultralytics export the same checkpoint once: that takes seconds, and it makes the same of it each time."""
    export = onnx_file._export

    def export_once(checkpoint: Path, opset: int, shape_hw: tuple[int, int], *, end2end: bool) -> Path:
        asked = f"{opset} {shape_hw} {end2end}".encode()
        made = exported / f"{hashlib.sha256(checkpoint.read_bytes() + asked).hexdigest()}.onnx"
        if not made.exists():
            shutil.copyfile(export(checkpoint, opset, shape_hw, end2end=end2end), made)
        return made

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(onnx_file, "_export", export_once)
        yield


RECIPE = """
recipe_version = 1
name = "tiny"

[parent]
checkpoint = "missing.pt"
epochs = 1

[data]
yaml = "missing.yaml"

[input]
shapes_hw = [[96, 96]]

[train]
image_size = 96
batch = 8
threads = 1
mosaic = 0.0

[prune]
budget = {{ macs = {macs} }}
size_hw = [96, 96]
quantum = 8
sensitivity_images = 1
sensitivity_size = 64
probes = [0.5]

[recover]
epochs = 2
settle_share = 0.0
calibration_images = 2

[distill]
keep = "always"
epochs = 1

[quantize]
calibration_images = 2
"""

#: Of INT8 throughout, what a v8n of random weights finds hangs on rounding: no proof of its variants holds.
MOSTLY_FLOAT = f"keep_float = {[f'/model.{n}' for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 18, 19, 22)]}"

STEP = "[[step]]\nbudget = { macs = 0.8 }\nepochs = 1\n"
GATES = "[gates]\nmap50_95_drop = 100.0\nmap50_drop = 100.0\nclass_recall_drop = 100.0\nparams_ratio = %s\n"


class Bench:
    """A recipe in a folder, and the command on it."""

    def __init__(self, folder: Path, checkpoint: Path, data_yaml: Path) -> None:
        """Use `folder` for the recipe and its work."""
        self.recipe, self.work = folder / "recipe.toml", folder / "work"
        self.checkpoint, self.data_yaml = checkpoint, data_yaml
        self.options = [f"--checkpoint={checkpoint}", f"--data={data_yaml}", f"--work={self.work}"]

    def write(self, more: str = "", macs: float = 0.6, quantize: str = "") -> None:
        """Write the recipe anew; `quantize` are further lines of that section."""
        self.recipe.write_text(f"{RECIPE.format(macs=macs)}{quantize}\n{more}")

    def __call__(self, command: str) -> Result:
        """Carry out a command."""
        return CliRunner().invoke(cli, [command, str(self.recipe), *self.options])

    def result(self, pattern: str) -> Path:
        """Return the only stage output of a name."""
        (path,) = self.work.glob(pattern)
        return path


@pytest.fixture
def no_glance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train with a teacher that is not compared with its student before: that exports and evaluates both."""
    monkeypatch.setattr("vision_line_compression.pipeline.steps.distill.validation_map", lambda *_: None)


@pytest.fixture
def bench(tmp_path: Path, boards: Path, write_board_checkpoint: WriteCheckpoint) -> Bench:
    """A v8n that was never trained."""
    made = Bench(tmp_path, write_board_checkpoint("yolov8n"), boards)
    made.write()
    return made


@pytest.fixture
def responsive(bench: Bench, tmp_path: Path) -> Bench:
    """A network whose outputs depend on the image, unlike those of random weights: of it a proof can be made."""
    original = load_checkpoint(bench.checkpoint)
    recalibrate_batch_norm(original.model, input_batches(open_dataset(bench.data_yaml, "train"), (96, 96)))
    save_checkpoint(original.model, tmp_path / "responsive.pt", original)
    bench.checkpoint = tmp_path / "responsive.pt"
    bench.options[0] = f"--checkpoint={bench.checkpoint}"
    return bench
