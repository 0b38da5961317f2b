# SPDX-License-Identifier: AGPL-3.0-or-later
"""Makes the stock model of `benchmarks.multi_camera`: YOLOv8n as Ultralytics trained it on COCO, quantized to INT8.

It is calibrated on views of the two images that Ultralytics' package brings: right for speed and for comparing boxes,
not for accuracy. Needs the `compress` extra. Run: python -m benchmarks.stock_model CHECKPOINT.pt
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.loads import VIDEOS, street_frames
from vision_line.simulator.clips import default_directory

SHAPE_HW = (384, 640)
VIEWS = 32  # of each image
_APART = 20  # views follow each other by a pixel or two


def stock_folder() -> Path:
    """Return where the stock model is kept."""
    return default_directory().parent / "stock" / "yolov8n-int8"


def street_views(size_wh: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """Yield RGB views (h, w, 3) of all images."""
    for number in range(VIDEOS):
        for frame in islice(street_frames(number, size_wh), 0, VIEWS * _APART, _APART):
            yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def make_stock_model(checkpoint: Path, folder: Path) -> Path:
    """Quantize `checkpoint` into the bundle `folder`, with its variants and its proof, and return the folder.

    Raises:
        ModelError: it is no detection checkpoint, or the result is not right.
    """
    from vision_line.devices.preprocessing.definition import letterbox_rgb, normalise
    from vision_line_compression.bundle.bundle_proof import given_candidates, prove_bundle
    from vision_line_compression.bundle.bundle_writer import write_bundle
    from vision_line_compression.network.onnx_file import export_onnx
    from vision_line_compression.quantize.calibrate import calibrate
    from vision_line_compression.quantize.quantizer import quantize_calibrated
    from vision_line_compression.quantize.settings import QuantizeSettings

    work = folder.with_suffix(".partial")
    shutil.rmtree(work, ignore_errors=True)
    exported = export_onnx(checkpoint, work / "float.onnx", shape_hw=SHAPE_HW)
    inputs = [normalise(letterbox_rgb(view, SHAPE_HW))[0] for view in street_views((640, 360))]
    quantized = work / "int8.onnx"
    quantize_calibrated(exported, quantized, QuantizeSettings(), calibrate(exported, inputs))
    bundle = write_bundle(work / "bundle", quantized, "yolov8n-int8", input_shapes_hw=[SHAPE_HW])
    prove_bundle(bundle, given_candidates(inputs))
    shutil.rmtree(folder, ignore_errors=True)
    bundle.rename(folder)
    shutil.rmtree(work)
    return folder


def main() -> None:
    """Make it."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m benchmarks.stock_model CHECKPOINT.pt")
    print(f"{make_stock_model(Path(sys.argv[1]), stock_folder())}: ready for python -m benchmarks.multi_camera")


if __name__ == "__main__":
    main()
