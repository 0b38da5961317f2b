# SPDX-License-Identifier: AGPL-3.0-or-later
"""What convolutions cost on the target: read from a table that was made there, or measured once on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import JsonValue

from vision_line.ports import ProgressCallback
from vision_line_compression.engines.latency_measure import measure_cpu
from vision_line_compression.pipeline.context import Context
from vision_line_compression.pipeline.stage import Stage, StagePlace

LATENCY = "latency.json"


def latency(context: Context) -> Stage | None:
    """Return the stage that leaves the table; None where no budget asks for it and the recipe names none."""
    recipe, parent, given = context.recipe, context.parent, context.inputs.latency_table
    if recipe.prune is None:
        return None
    size_hw = recipe.prune.size_hw
    if given is not None:
        key: dict[str, JsonValue] = {"size_hw": list(size_hw), "table": given.sha256}

        def copy(folder: Path, _progress: ProgressCallback) -> list[Path]:
            return [Path(shutil.copyfile(given.path, folder / LATENCY))]

        return context.stage("latency", copy, key, start=parent)
    if not any(budget.needs_latency for budget in (recipe.prune.budget, *(step.budget for step in recipe.step))):
        return None

    def measure(folder: Path, progress: ProgressCallback) -> list[Path]:
        measure_cpu(parent.path, size_hw, progress).write(folder / LATENCY)
        return [folder / LATENCY]

    # version 2 measures INT8, and the whole network too
    key = {"size_hw": list(size_hw)}
    return context.stage("latency", measure, key, start=parent, version=2, place=StagePlace.HERE)
