# SPDX-License-Identifier: AGPL-3.0-or-later
"""The parent in INT8 and nothing else: what half a minute of quantization gives, which all the rest has to beat."""

from __future__ import annotations

from pathlib import Path

from pydantic import JsonValue

from vision_line.ports import ProgressCallback
from vision_line_compression.data.tensors import network_inputs
from vision_line_compression.network.onnx_file import save_model
from vision_line_compression.pipeline.context import Artifact, Context, plain
from vision_line_compression.pipeline.recipe import Control
from vision_line_compression.pipeline.steps.pack import prove, proven_bundle
from vision_line_compression.pipeline.steps.quantize import int8_files, int8_row, quantize
from vision_line_compression.quantize.nncf_quantizer import quantize_by_nncf

_NNCF = "model.int8-nncf.onnx"


def parent_int8(context: Context, wanted: Control, onnx: Artifact) -> Artifact:
    """Return the parent in INT8: by our quantizer in all variants, as a bundle; by NNCF the file that it writes."""
    return _by_nncf(context, onnx) if wanted is Control.PARENT_INT8_NNCF else _by_ours(context, onnx)


def _by_ours(context: Context, onnx: Artifact) -> Artifact:
    """Quantize as the product is quantized, but for the search of parts that stay float.

    All variants, since the product is measured in the one that suits this processor.
    """
    section = context.recipe.quantize.model_copy(update={"compare": (), "protect": None})
    plainly = context.varied(quantize=section)
    int8 = int8_files(plainly, quantize(plainly, onnx, "quantize-parent"))[int8_row(section.method)]
    return proven_bundle(plainly, prove(plainly, int8, onnx, "prove-parent", has_to_hold=False))


def _by_nncf(context: Context, onnx: Artifact) -> Artifact:
    recipe = context.recipe

    def work(folder: Path, _progress: ProgressCallback) -> list[Path]:
        images = network_inputs(context.calibration_images(recipe.quantize.calibration_images), recipe.input.shapes_hw)
        save_model(quantize_by_nncf(onnx.path, images), folder / _NNCF)
        return [folder / _NNCF]

    key: dict[str, JsonValue] = {"calibration_images": recipe.quantize.calibration_images, "input": plain(recipe.input)}
    stage = context.stage("quantize-parent-nncf", work, key, after=onnx.after, data=(context.calibration_split,))
    return context.output(stage, _NNCF)
