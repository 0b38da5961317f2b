# SPDX-License-Identifier: AGPL-3.0-or-later
"""The bundle that `vision-line --model` takes: the INT8 model's variants and their proof, then what was measured."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from vision_line.devices.model.failed_gates import NOT_CHECKED
from vision_line.errors import ModelError
from vision_line.ports import ProgressCallback
from vision_line_compression.bundle.bundle_proof import (
    UNSIGNED_FILE,
    ImageRGB,
    drawn_candidates,
    given_candidates,
    prove_bundle,
)
from vision_line_compression.bundle.bundle_writer import amend_bundle, write_bundle
from vision_line_compression.data.tensors import network_inputs
from vision_line_compression.evaluate.results import Evaluation
from vision_line_compression.pipeline.context import Artifact, Context, plain
from vision_line_compression.pipeline.stage import Stage
from vision_line_compression.pipeline.steps.evaluate import EVALUATION
from vision_line_compression.pipeline.steps.teacher_choice import TAKEN, TeacherChoice

logger = logging.getLogger(__name__)

BUNDLE = "bundle"

#: Calibration images among which those of a proof are chosen, where the recipe says so.
_CANDIDATES = 64


def prove(
    context: Context, int8: Artifact, quantized: Artifact, name: str = "prove", *, has_to_hold: bool = True
) -> Stage:
    """Return the stage `name`: an INT8 file's bundle with its other variants and the proof of all, and no origin.

    `quantized` is the float file that it was made of, which is in the bundle in float16. A model that is only measured
    need not be proven: without `has_to_hold` it stays the one variant that it is where nothing can be proven of it.

    Until the report is made the bundle says that its gates were not checked: no copy of it inspects unjudged.
    """
    recipe = context.recipe

    def work(folder: Path, _progress: ProgressCallback) -> list[Path]:
        bundle = write_bundle(
            folder / BUNDLE,
            int8.path,
            recipe.name,
            input_shapes_hw=recipe.input.shapes_hw,
            score=recipe.operating.score,
            nms_iou=recipe.operating.nms_iou,
            failed_gates=(NOT_CHECKED,),
        )
        try:
            proven = prove_bundle(bundle, _candidates(context), quantized.path)
        except ModelError as exc:
            if has_to_hold:
                raise
            logger.warning("%s: without its other variants: %s", name, exc)
        else:
            if proven.left_out:
                logger.warning("%s: without its variant in float16: %s", recipe.name, proven.left_out)
        return _files_of(bundle)

    key: dict[str, JsonValue] = {
        "name": recipe.name,
        "operating": plain(recipe.operating),
        "input": plain(recipe.input),
        "proof": plain(recipe.proof),
    }
    data = (context.calibration_split,) if recipe.proof.pictures == "calibration" else ()
    # version 2 has the variant for GPUs, and says that its gates were not checked; 3 has two, with float16 inputs; 4
    # has the float file in float16 too
    after = (*int8.after, *(one for one in quantized.after if one not in int8.after))
    return context.stage(name, work, key, after=after, data=data, version=4)


def proven_bundle(context: Context, proven: Stage) -> Artifact:
    """Return the folder of the model in all its variants."""
    return context.output(proven, BUNDLE)


def unsigned_variant(context: Context, proven: Stage) -> Artifact:
    """Return the file of the variant for processors without VNNI."""
    return Artifact(context.output(proven, BUNDLE).path / UNSIGNED_FILE, proven)


def pack(context: Context, proven: Stage, evaluation: Stage, chosen: Artifact | None) -> Stage:
    """Return the stage that adds to a proven bundle its lineage and what was measured.

    `chosen` is what was taken of the models with and without a teacher; None: the recipe left no choice.
    """
    lineage = _lineage(context)

    def work(folder: Path, _progress: ProgressCallback) -> list[Path]:
        bundle = shutil.copytree(context.output(proven, BUNDLE).path, folder / BUNDLE, dirs_exist_ok=True)
        results = _summary(Evaluation.read(context.output(evaluation, EVALUATION).path))
        taught: dict[str, JsonValue] = {}
        if chosen is not None:
            taught = {"teacher_taken": TeacherChoice.read(chosen.path.parent / TAKEN).taken == "with-teacher"}
        amend_bundle(bundle, {"lineage": dict(lineage) | taught, "results": results})
        return _files_of(bundle)

    # version 2 has variants and a proof
    after = (proven, evaluation, *(() if chosen is None else chosen.after))
    return context.stage("bundle", work, {"lineage": lineage}, after=after, version=2)


def _lineage(context: Context) -> dict[str, JsonValue]:
    inputs = context.inputs
    # not what names files of the machine that compressed
    recipe = context.recipe.model_dump(
        mode="json",
        exclude={
            "parent": True,
            "data": True,
            "quantize": {"calibration"},
            "teacher": {"start"},
            "prune": {"latency_table"},
            "report": {"pretrained"},
        },
    )
    network = inputs.teacher_network
    begun: dict[str, JsonValue] = {} if network is None else {"teacher_start_sha256": network.sha256}
    return {
        "parent_sha256": inputs.parent.sha256,
        "family": inputs.parent.family,
        "teacher_sha256": None if context.recipe.distill is None or network is not None else inputs.teacher.sha256,
        **begun,
        "data_sha256": dict(inputs.hashes),
        "recipe": recipe,
    }


def _candidates(context: Context) -> tuple[ImageRGB, ...]:
    recipe = context.recipe
    if recipe.proof.pictures == "drawn":
        return drawn_candidates()
    return given_candidates(network_inputs(context.calibration_images(_CANDIDATES), recipe.input.shapes_hw))


def _files_of(bundle: Path) -> list[Path]:
    return sorted(path for path in bundle.iterdir() if path.is_file())


def _summary(evaluation: Evaluation) -> Mapping[str, JsonValue]:
    point, masks = evaluation.operating[0], evaluation.accuracy.masks
    of_masks: Mapping[str, JsonValue] = {}
    if masks is not None:
        of_masks = {"mask_map50_95": masks.map50_95, "mask_map50": masks.map50}
    return {
        "split": evaluation.data.split,
        "images": evaluation.data.images,
        "map50_95": evaluation.accuracy.map50_95,
        "map50": evaluation.accuracy.map50,
        **of_masks,
        "match_iou": point.match_iou,
        "miss_rate": point.miss_rate.value,
        "false_per_image": point.false_per_image.value,
    }
