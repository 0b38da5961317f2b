# SPDX-License-Identifier: AGPL-3.0-or-later
"""The CPU device inspects with an engine that was proven, in whichever variant, or not at all."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.fakes.proven_bundle import write_proven_bundle
from tests.fakes.tiny_model import build_tiny_model

from vision_line.devices.cpu.backend import open_cpu
from vision_line.devices.model.model import open_model
from vision_line.errors import DeviceError, ModelError
from vision_line.ports import DeviceDescription, ShapeHW

WriteModel = Callable[..., Path]

SIGNED, UNSIGNED = "qdq-s8-symmetric", "qdq-u8-7bit"
WORDS = {SIGNED: "signed INT8", UNSIGNED: "unsigned INT8, 7-bit weights"}
WIDE, TALL = (64, 128), (128, 64)
#: Two files that compute the same, and are told apart.
VARIANTS = {
    SIGNED: build_tiny_model(quantized=True, quantization=SIGNED),
    UNSIGNED: build_tiny_model(quantized=True, quantization=UNSIGNED),
}


def opened(path: Path, *shapes: ShapeHW) -> DeviceDescription:
    """Open a device for the bundle or file at `path`, close it, and return what it was."""
    with closing(open_cpu(open_model(path), shapes or (WIDE,), lambda: None, slots=1)) as device:
        return device.description


def test_a_right_engine_runs_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The variant, why it was chosen, and what proves it; nothing is logged."""
    description = opened(write_proven_bundle(tmp_path / "bundle", VARIANTS))

    assert description.variant in WORDS.values()
    assert description.precision == "int8"
    assert description.instruction_set
    assert description.instruction_set in description.variant_reason
    assert description.variant_reason.endswith("proven by the bundle's proof")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(("wrong", "right"), [(SIGNED, UNSIGNED), (UNSIGNED, SIGNED)])
def test_a_variant_that_fails_its_proof_does_not_run(tmp_path: Path, wrong: str, right: str) -> None:
    """The other one does, whichever this processor would have tried first."""
    folder = write_proven_bundle(tmp_path / "bundle", VARIANTS, false={(wrong, WIDE)})

    assert opened(folder).variant == WORDS[right]


def test_a_failed_variant_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A warning says what was expected and found, and the description repeats it."""
    folder = write_proven_bundle(
        tmp_path / "bundle", VARIANTS, (WIDE, TALL), false={(SIGNED, WIDE), (UNSIGNED, TALL), (SIGNED, TALL)}
    )

    with pytest.raises(DeviceError):
        opened(folder, WIDE, TALL)

    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any("unsigned INT8, 7-bit weights at 64x128, against the bundle's proof" in text for text in warnings)
    assert all("of 24 places" in text for text in warnings)


def test_a_variant_may_fail_at_one_shape_alone(tmp_path: Path) -> None:
    """The next one serves that shape; the description names both."""
    first = opened(write_proven_bundle(tmp_path / "first", VARIANTS)).variant
    name, other = (SIGNED, UNSIGNED) if first == WORDS[SIGNED] else (UNSIGNED, SIGNED)
    folder = write_proven_bundle(tmp_path / "bundle", VARIANTS, (WIDE, TALL), false={(name, TALL)})

    description = opened(folder, WIDE, TALL)
    assert description.variant == f"{first} and {WORDS[other]}"
    assert description.input_shapes_hw == (WIDE, TALL)


def test_no_right_variant_is_one_error(tmp_path: Path) -> None:
    """It names the processor, its instruction set, and for each variant what was expected and what was found."""
    folder = write_proven_bundle(tmp_path / "bundle", VARIANTS, false={(SIGNED, WIDE), (UNSIGNED, WIDE)})

    with pytest.raises(DeviceError, match=r"no variant of the model computes rightly on .+ \(.+\): ") as caught:
        opened(folder)

    message = str(caught.value)
    for variant in ("unsigned INT8, 7-bit weights at", "signed INT8 at", "signed INT8 executed in float at"):
        assert variant in message
    assert message.count("of 24 places") == 3


def test_a_shape_without_a_right_variant_leaves_the_device_as_it_was(tmp_path: Path) -> None:
    """A shape that a camera brings later is refused, and the others go on."""
    folder = write_proven_bundle(tmp_path / "bundle", VARIANTS, (WIDE, TALL), false={(SIGNED, TALL), (UNSIGNED, TALL)})

    with closing(open_cpu(open_model(folder), (WIDE,), lambda: None, slots=1)) as device:
        before = device.description
        with pytest.raises(DeviceError, match="computes rightly"):
            device.ensure_shape(TALL)
        assert device.description == before


def test_a_quantized_file_without_proof_is_compared_with_its_float_execution(write_model: WriteModel) -> None:
    """Ultralytics' exports bring none."""
    description = opened(write_model(quantized=True))

    assert description.variant_reason.endswith("proven by its own float execution")
    assert description.precision == "int8"


def test_a_float_file_is_its_own_reference(write_model: WriteModel) -> None:
    """There is nothing to compare it with."""
    description = opened(write_model())

    assert (description.variant, description.variant_reason, description.precision) == ("fp32", "", "fp32")


def test_what_cannot_be_proven_runs_in_float(write_model: WriteModel, caplog: pytest.LogCaptureFixture) -> None:
    """A quantized file that makes the same of every image could be wrong without anyone noticing."""
    path = write_model(quantized=True)
    coarse = path.read_bytes().replace(np.float32(1 / 255).tobytes(), np.float32(100).tobytes())
    path.write_bytes(coarse)

    description = opened(path)
    assert (description.variant, description.precision) == ("int8 executed in float", "fp32")
    assert "it cannot be proven: only 0 places" in description.variant_reason
    assert "it cannot be proven" in caplog.text


def test_an_altered_proof_is_refused(tmp_path: Path) -> None:
    """Like the model it is known by its hash."""
    folder = write_proven_bundle(tmp_path / "bundle", VARIANTS)
    (folder / "proof.npz").write_bytes(b"other")

    with pytest.raises(ModelError, match=r"proof\.npz: expected sha256"):
        open_model(folder)


@pytest.mark.parametrize("damage", ["form", "proof"])
def test_a_faulty_description_is_refused(tmp_path: Path, damage: str) -> None:
    """Two variants of one name, or a proof outside of the folder."""
    folder = write_proven_bundle(tmp_path / "bundle", VARIANTS)
    document = json.loads((folder / "bundle.json").read_text())
    if damage == "form":
        document["model"]["forms"][0]["form"] = SIGNED
    else:
        document["proof"]["file"] = "../proof.npz"
    (folder / "bundle.json").write_text(json.dumps(document))

    with pytest.raises(ModelError, match="names must differ" if damage == "form" else r"proof\.file"):
        open_model(folder)
