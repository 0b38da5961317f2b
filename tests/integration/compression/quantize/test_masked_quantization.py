# SPDX-License-Identifier: AGPL-3.0-or-later
"""Models of masks in INT8: what stays float at their ends, how near their masks are, and that their proof has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.fakes.board_checkpoint import write_board_checkpoint
from tests.fakes.quantizing import quantize_onnx

from vision_line.devices.cpu.openvino_engine import float_outputs
from vision_line.devices.model.agreement import Tolerance, compare
from vision_line.devices.model.heads import HeadKind, SegmentOutput
from vision_line.devices.model.model import open_model
from vision_line.devices.model.proof import shaped
from vision_line.devices.model.tasks import ModelTask
from vision_line.errors import ModelError
from vision_line_compression.bundle.bundle_proof import drawn_candidates, prove_bundle
from vision_line_compression.bundle.bundle_writer import write_bundle, write_float16_bundle
from vision_line_compression.network.onnx_file import export_onnx
from vision_line_compression.quantize.onnx_session import OutputAgreement, compare_outputs
from vision_line_compression.quantize.settings import QuantizeReport, QuantizeSettings

from .conftest import SHAPE_HW, WriteCheckpoint, calmed

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's exporter announces its own future


#: Of INT8 throughout, what a v8n of random weights finds hangs on rounding: no proof of its variants holds.
MOSTLY_FLOAT = tuple(f"/model.{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 18, 19, 22))


def quantized(
    checkpoint: Path, folder: Path, settings: QuantizeSettings
) -> tuple[Path, Path, QuantizeReport, OutputAgreement]:
    """Return the float and the INT8 file of a checkpoint, the report, and how near their outputs are."""
    coarse = np.random.default_rng(2).random((2, 3, 8, 12), dtype=np.float32)
    images = list(np.kron(coarse, np.ones((1, 1, 8, 8), np.float32)))
    source = export_onnx(checkpoint, folder / "float.onnx", shape_hw=SHAPE_HW)
    report = quantize_onnx(source, folder / "int8.onnx", settings, images)
    found = compare_outputs(source, folder / "int8.onnx", images, task=ModelTask.SEGMENT, threads=1)
    return source, folder / "int8.onnx", report, found


@pytest.mark.parametrize(
    "network", ["yolov8n-seg", *(pytest.param(n, marks=pytest.mark.long) for n in ("yolo11n-seg", "yolo26n-seg"))]
)
def test_masks_are_quantized_but_for_their_ends(
    network: str, write_checkpoint: WriteCheckpoint, tmp_path: Path
) -> None:
    """The last convolutions of prototypes and coefficients stay float, and so does what makes their grid finer."""
    checkpoint = calmed(write_checkpoint(network), tmp_path / "parent.pt")
    _, int8, report, found = quantized(checkpoint, tmp_path, QuantizeSettings())

    assert open_model(int8).head is HeadKind.YOLOV8_SEG
    ends = [name for name, reason in report.kept_float.items() if reason == "the head's output"]
    assert sum("/cv4." in name for name in ends) == 3
    assert [name for name in ends if "/proto/" in name] == [name for name in ends if "/proto/cv3" in name] != []
    assert sum("/cv4." in name for name in report.quantized) == 6
    assert sum("/proto/" in name for name in report.quantized) >= 2
    assert found.box_sqnr_db > 20
    assert found.mask_sqnr_db is not None
    assert found.mask_sqnr_db > 10


def test_the_bundle_has_its_masks_in_its_proof(tmp_path: Path) -> None:
    """In both variants, and none for GPUs; the same boxes with other masks would not pass."""
    write_board_checkpoint("yolov8n-seg", tmp_path / "parent.pt")
    source, int8, _, _ = quantized(tmp_path / "parent.pt", tmp_path, QuantizeSettings(keep_float=MOSTLY_FLOAT))
    bundle = write_bundle(tmp_path / "bundle", int8, "tiny", input_shapes_hw=[SHAPE_HW])
    proven = prove_bundle(bundle, drawn_candidates()[:12], source)
    model = open_model(bundle)

    assert "GPUs do not run models for the task 'segment'" in proven.left_out
    assert (model.head.task, len(model.variants), model.gpu_variants) == (ModelTask.SEGMENT, 2, ())
    assert model.proof is not None
    inputs = shaped(model.proof.images, SHAPE_HW)
    for variant in model.variants:
        reference = model.proof.reference(variant.name, SHAPE_HW)
        assert reference is not None
        outputs = float_outputs(model, variant.path, inputs)
        segments = [output for output in outputs if isinstance(output, SegmentOutput)]
        turned = [SegmentOutput(output.places, -output.prototypes) for output in segments]
        assert len(turned) == len(inputs)
        for found, holds in ((outputs, True), (turned, False)):
            agreement = compare(reference, model.head, len(model.classes), model.nms_iou, found, Tolerance())
            assert agreement.holds is holds, variant.name
    with pytest.raises(ModelError, match=r"is a model for the task 'segment'.*float16"):
        write_float16_bundle(bundle, tmp_path / "half")
