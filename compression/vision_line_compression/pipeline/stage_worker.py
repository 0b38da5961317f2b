# SPDX-License-Identifier: AGPL-3.0-or-later
"""One stage of a recipe on a machine of a cluster: named by its key, and done in the folder that all of them share.

Nothing but the recipe, paths and keys is sent: a worker opens all of it itself, and a key that it does not find says
that it sees other inputs. Heavy libraries are imported by the functions, once Ultralytics is kept offline.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from vision_line.devices.proof.processor import this_processor
from vision_line.errors import RunError
from vision_line.ports import ProgressCallback
from vision_line_compression.files import FrozenModel
from vision_line_compression.network.ultralytics_offline import keep_ultralytics_offline
from vision_line_compression.pipeline.recipe import LoadedRecipe

if TYPE_CHECKING:
    from vision_line_compression.pipeline.graph import CompressionPipeline
    from vision_line_compression.pipeline.stage import Stage, Workspace

#: A file of the shared folder with a word that only this run knows: who can read it sees the same folder.
WITNESS = "cluster.txt"
#: What another machine wrote may be seen only after so long, on a network's file system.
SEEN_S = 60.0


class RecipeOrder(FrozenModel):
    """A recipe with the files that it names, the folder of its results, and the command's machine; absolute paths."""

    loaded: LoadedRecipe
    root: Path
    machine: str


class StageOrder(FrozenModel):
    """What is sent to a worker: the stage with this `key`."""

    recipe: RecipeOrder
    key: str


class PipelineAnswer(FrozenModel):
    """What a node sees and has: keys of the last stages, the folder's word, its processor, GPUs that torch finds."""

    keys: tuple[str, ...]
    word: str
    instruction_set: str
    gpus: int


def see_pipeline(text: str) -> str:
    """Answer, on a worker, what it sees of a recipe.

    Raises:
        VisionLineError: what the recipe names cannot be opened there.
    """
    order = RecipeOrder.model_validate_json(text)
    pipeline, workspace = opened(text)
    import torch

    try:
        word = (workspace.root / WITNESS).read_text(encoding="utf-8")
    except OSError:
        word = ""
    wants_gpu = order.loaded.recipe.train.device != "cpu"
    answer = PipelineAnswer(
        keys=last_keys(pipeline),
        word=word,
        instruction_set=this_processor().instruction_set,
        gpus=torch.cuda.device_count() if wants_gpu and torch.cuda.is_available() else 0,
    )
    return answer.model_dump_json()


def do_stage(text: str) -> str:
    """Do a stage on a worker.

    Raises:
        RunError: it does not see what the command sees; VisionLineError: as the stage does.
    """
    order = StageOrder.model_validate_json(text)
    pipeline, workspace = opened(order.recipe.model_dump_json())
    stage = stages_of(pipeline).get(order.key)
    if stage is None:
        raise RunError("it sees other inputs now than when the run began: recipe, checkpoint or data set")
    for before in stage.after:
        if not is_seen(workspace, before):
            raise RunError(f"{workspace.folder(before)}: the stage {before.name!r} is done, and is not seen there")
    workspace.share(stage, _silent)
    return ""


def last_keys(pipeline: CompressionPipeline) -> tuple[str, ...]:
    """Return the keys that all others are part of."""
    return pipeline.bundle.key, pipeline.report.key


def stages_of(pipeline: CompressionPipeline) -> dict[str, Stage]:
    """Return every stage that bundle and report need, by its key; each comes after those that it needs."""
    found: dict[str, Stage] = {}

    def collect(stage: Stage) -> None:
        if stage.key not in found:
            for before in stage.after:
                collect(before)
            found[stage.key] = stage

    for last in (pipeline.bundle, pipeline.report):
        collect(last)
    return found


def is_seen(workspace: Workspace, stage: Stage) -> bool:
    """Whether the result of a stage that another machine has done is here, whole, perhaps after a while."""
    deadline_s = time.monotonic() + SEEN_S
    while not workspace.is_done(stage):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.2)
    return True


@lru_cache(maxsize=1)  # a worker process does many stages of one recipe, whose data set takes a while to be read
def opened(text: str) -> tuple[CompressionPipeline, Workspace]:
    """Open what a `RecipeOrder` names.

    Raises:
        VisionLineError: it cannot be used here.
    """
    keep_ultralytics_offline()
    from vision_line_compression.pipeline.graph import CompressionPipeline
    from vision_line_compression.pipeline.inputs import open_inputs
    from vision_line_compression.pipeline.stage import Workspace

    order = RecipeOrder.model_validate_json(text)
    workspace = Workspace(order.root)
    inputs = open_inputs(order.loaded, trains_here=False)
    return CompressionPipeline(inputs, workspace, order.machine), workspace


@contextmanager
def _silent(_title: str) -> Iterator[ProgressCallback]:
    yield lambda _done, _total: None
