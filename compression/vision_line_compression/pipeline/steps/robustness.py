# SPDX-License-Identifier: AGPL-3.0-or-later
"""Float and INT8 compared on corrupted images: blur, noise, exposure, weather."""

from __future__ import annotations

from pathlib import Path

from vision_line.ports import ProgressCallback
from vision_line_compression.evaluate.robustness import compare_robustness
from vision_line_compression.pipeline.context import Artifact, Context
from vision_line_compression.pipeline.stage import Stage
from vision_line_compression.pipeline.steps.evaluate import measured_by, open_measured

ROBUSTNESS = "robustness.json"


def robustness(context: Context, original: Artifact, quantized: Artifact) -> Stage | None:
    """Return the stage; None where the recipe does not want it."""
    images = context.recipe.report.corrupted_images
    if not images:
        return None

    def work(folder: Path, progress: ProgressCallback) -> list[Path]:
        recipe = context.recipe
        comparison = compare_robustness(
            open_measured(original.path, recipe),
            open_measured(quantized.path, recipe),
            context.inputs.test,
            settings=recipe.evaluate,
            images=images,
            seed=recipe.seed,
            group=recipe.data.group,
            progress=progress,
        )
        comparison.write(folder / ROBUSTNESS)
        return [folder / ROBUSTNESS]

    key = measured_by(context.recipe) | {"images": images, "seed": context.recipe.seed}
    if context.recipe.data.group is not None:
        key |= {"group": context.recipe.data.group}
    return context.stage("robustness", work, key, after=(*original.after, *quantized.after), data=("judge",))
