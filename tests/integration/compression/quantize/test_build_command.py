# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line-compress build`: engines and progress, what it refuses, and how it is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vision_line_compression.bundle.bundle_writer import write_bundle

if TYPE_CHECKING:
    from tests.integration.compression.quantize.conftest import Quantized

COMMAND = Path(sys.executable).parent / "vision-line-compress"
NO_GPU = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
SHAPES_HW = [(64, 96), (96, 96)]


@pytest.fixture
def bundle(quantized: Quantized, tmp_path: Path) -> Path:
    """Return a bundle without engines, for two input shapes."""
    return write_bundle(tmp_path / "bundle", quantized.int8_onnx, "boards", input_shapes_hw=SHAPES_HW)


def built(bundle: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [COMMAND, "build", bundle, *options], env=NO_GPU, text=True, capture_output=True, check=False, timeout=120
    )


def test_rtx_engines_are_built_and_named(bundle: Path) -> None:
    """Paths on standard output, one line of progress for each engine on standard error."""
    pytest.importorskip("tensorrt_rtx", reason="needs the rtx extra")

    done = built(bundle, "--target", "rtx", "--sm", "86")

    assert done.returncode == 0, done.stderr
    assert [Path(line).exists() for line in done.stdout.splitlines()] == [True] * 2
    assert "engine 2 of 2: 96x96 SM 86: done" in done.stderr


def test_tensorrt_needs_a_gpu(bundle: Path) -> None:
    """One clear sentence, exit 3, no file."""
    done = built(bundle, "--target", "tensorrt")

    assert done.returncode == 3
    assert done.stderr.startswith("vision-line-compress: cuda: ")
    assert len(done.stderr.splitlines()) == 1
    assert not (bundle / "engines").exists()


def test_what_makes_no_sense_is_refused(bundle: Path, tmp_path: Path) -> None:
    """Each with its exit code and what was expected."""
    other_gpu = built(bundle, "--target", "tensorrt", "--sm", "86")
    words = built(bundle, "--target", "rtx", "--sm", "ampere")
    no_bundle = built(tmp_path, "--target", "tensorrt")

    assert (other_gpu.returncode, words.returncode, no_bundle.returncode) == (2, 2, 3)
    assert "--sm: TensorRT builds for the GPU of this machine" in other_gpu.stderr
    assert "found 'ampere'" in words.stderr
    assert "expected a bundle folder with bundle.json" in no_bundle.stderr


def test_xavier_is_refused(bundle: Path) -> None:
    """By the rules for targets, before any library looks at it."""
    pytest.importorskip("tensorrt_rtx", reason="needs the rtx extra")

    done = built(bundle, "--target", "rtx", "--sm", "72")

    assert done.returncode == 3
    assert "SM 72: Jetson Xavier stays at TensorRT 8.5" in done.stderr


def test_ctrl_c_ends_it_between_whole_engines(bundle: Path) -> None:
    """130; what is there is whole, what was begun is gone."""
    pytest.importorskip("tensorrt_rtx", reason="needs the rtx extra")
    engines = bundle / "engines"
    command = [str(COMMAND), "build", str(bundle), "--target", "rtx", "--sm", "75,80,86,89,120"]
    with subprocess.Popen(command, env=NO_GPU, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            deadline = time.monotonic() + 60
            while not list(engines.glob("*.engine.json")) and time.monotonic() < deadline:
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()

    assert process.returncode == 130, errors
    assert "interrupted; the same command goes on from here" in errors
    made = list(engines.glob("*.engine"))
    assert 1 <= len(made) < 10
    assert {path.name for path in engines.iterdir()} == {
        name for engine in made for name in (engine.name, f"{engine.name}.json")
    }
