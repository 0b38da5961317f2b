# SPDX-License-Identifier: AGPL-3.0-or-later
"""The doctor says which variant of the model runs here and whether its proof holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from tests.fakes.proven_bundle import write_proven_bundle
from tests.fakes.tiny_model import build_tiny_model
from typer.testing import CliRunner

from vision_line.cli.main import cli
from vision_line.doctor.finding import Level
from vision_line.doctor.libraries import find_proof
from vision_line.ports import ShapeHW

SIGNED = "qdq-s8-symmetric"
SHAPES: tuple[ShapeHW, ...] = ((64, 128),)


def test_the_variant_that_runs_is_named(tmp_path: Path) -> None:
    """With what proved it."""
    folder = write_proven_bundle(tmp_path / "bundle", {SIGNED: build_tiny_model(quantized=True)}, SHAPES)

    (finding,) = find_proof(folder)
    assert (finding.level, finding.what) == (Level.OK, "tiny runs as signed INT8")
    assert "proven by the bundle's proof" in finding.meaning
    (named,) = find_proof(folder, "recipe caps")
    assert named.what == "tiny of recipe caps runs as signed INT8"


def test_a_model_without_a_right_variant_fails(tmp_path: Path) -> None:
    """The finding names the processor and what was found."""
    variants = {SIGNED: build_tiny_model(quantized=True)}
    folder = write_proven_bundle(tmp_path / "bundle", variants, SHAPES, false={(SIGNED, SHAPES[0])})

    (finding,) = find_proof(folder)
    assert finding.level is Level.FAIL
    assert "no variant of the model computes rightly on" in finding.what


def test_a_model_that_runs_in_float_is_a_warning(tmp_path: Path) -> None:
    """It is right and slower than it could be; what would help is named."""
    path = tmp_path / "tiny.onnx"
    coarse = build_tiny_model((64, 128), quantized=True).replace(
        np.float32(1 / 255).tobytes(), np.float32(100).tobytes()
    )
    path.write_bytes(coarse)

    (finding,) = find_proof(path)
    assert finding.level is Level.WARN
    assert "executed in float" in finding.what
    assert finding.remedy


def test_each_model_of_a_line_is_proven(tmp_path: Path) -> None:
    """One that cannot be used makes the doctor fail, and is named by its recipe."""
    write_proven_bundle(tmp_path / "own", {SIGNED: build_tiny_model(quantized=True)}, SHAPES)
    text = 'config_version = 1\n[model]\npath = "own"\n[[stream]]\nname = "a"\nurl = "rtsp://host/a"\n'
    (tmp_path / "streams.toml").write_text(text + '[recipe.caps]\nmodel = "gone"\n', encoding="utf-8")
    done = CliRunner().invoke(
        cli, ["doctor", "--json", "--record", str(tmp_path / "r"), "--streams", str(tmp_path / "streams.toml")]
    )
    found = [(one["level"], one["what"]) for one in json.loads(done.stdout) if one["area"] == "proof"]
    assert found[0] == ("ok", "tiny of the line runs as signed INT8")
    assert found[1][0] == "fail"
    assert found[1][1].startswith("of recipe caps: ")
    assert (len(found), done.exit_code) == (2, 3)
