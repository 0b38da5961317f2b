# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which stages of a recipe are handed out when; the workers here do a stage as soon as it is waited for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from torch import nn

from vision_line.cluster.remote_work import DoneTask, RemoteWork
from vision_line.errors import ConfigError, RunError
from vision_line.ports import ProgressCallback
from vision_line_compression.data.dataset import Dataset, LabelledImage
from vision_line_compression.network.checkpoint import Checkpoint
from vision_line_compression.pipeline.cluster_run import SharedRun, check_shareable
from vision_line_compression.pipeline.graph import CompressionPipeline
from vision_line_compression.pipeline.inputs import Inputs
from vision_line_compression.pipeline.recipe import Control, DistillSection, LoadedRecipe, load_recipe
from vision_line_compression.pipeline.stage import Stage, StagePlace, Workspace
from vision_line_compression.pipeline.stage_machine import this_machine
from vision_line_compression.pipeline.stage_worker import StageOrder, stages_of
from vision_line_compression.progress import ProgressDisplay

RECIPE = Path(__file__).parents[4] / "compression" / "recipes" / "demo.toml"


class Workers:
    """Stands for `RemoteWork`: does the stages in their order, and fails those that it is told to."""

    def __init__(self, workspace: Workspace, failing: str = "") -> None:
        self.handed_out: list[list[str]] = [[]]  # between two waits
        self.on_gpu: set[str] = set()
        self._workspace = workspace
        self._failing = failing
        self._queue = deque[Stage]()

    @property
    def is_busy(self) -> bool:
        return bool(self._queue)

    def start(self, task: Stage, text: str, kind: str, *, needs_gpu: bool = False) -> None:
        assert StageOrder.model_validate_json(text).key == task.key
        assert kind == task.place
        self.handed_out[-1].append(task.name)
        if needs_gpu:
            self.on_gpu.add(task.name)
        self._queue.append(task)

    def wait(self) -> Iterator[DoneTask[Stage]]:
        self.handed_out.append([])
        stage = self._queue.popleft()
        if stage.name == self._failing:
            yield DoneTask(stage, RunError("on box1: out of memory"), "box1")
        else:
            self._workspace.share(stage, ProgressDisplay().stage)
            yield DoneTask(stage, "", "box1")


def write(folder: Path, _progress: ProgressCallback) -> list[Path]:
    """Do any stage."""
    (folder / "output.txt").write_text("made")
    return [folder / "output.txt"]


@pytest.fixture
def run(tmp_path: Path) -> SharedRun:
    """The demo's recipe with a teacher and all controls, on one image; every stage writes a word."""
    image = LabelledImage(tmp_path / "a.png", (64, 64), np.zeros((0, 4), np.float32), np.zeros(0, np.int32))
    image.path.write_bytes(b"never decoded")
    train, val, test = (
        Dataset(tmp_path / "data.yaml", split, ("dent",), (image,)) for split in ("train", "val", "test")
    )
    parent = Checkpoint(nn.Identity(), "v8", ("dent",), "a" * 64, tmp_path / "parent.pt")
    loaded = load_recipe(RECIPE, parent.path, tmp_path / "data.yaml")
    controls = tuple(control for control in Control if control is not Control.NECK_FREE)  # its neck is free
    report = loaded.recipe.report.model_copy(update={"controls": controls, "pretrained": "n.pt"})
    evaluate = loaded.recipe.evaluate.model_copy(update={"speed_s": 1.0})
    sections = {"report": report, "evaluate": evaluate, "distill": DistillSection(epochs=8, keep="always")}
    loaded = replace(loaded, recipe=loaded.recipe.model_copy(update=sections))
    workspace = Workspace(tmp_path / "work")
    pipeline = CompressionPipeline(Inputs(loaded, parent, parent, train, val, test, pretrained=parent), workspace)
    for stage in stages_of(pipeline).values():
        object.__setattr__(stage, "work", write)
    return SharedRun(pipeline, workspace, loaded, ProgressDisplay())


def carry_out(run: SharedRun, failing: str = "") -> Workers:
    """Do all that is needed with such workers."""
    workers = Workers(run.workspace, failing)
    needed = dict(run._needed(stages_of(run.pipeline).values()))
    run._carry_out(needed, cast("RemoteWork[Any]", workers))
    return workers


def test_what_does_not_need_each_other_is_handed_out_together(run: SharedRun) -> None:
    """At once: the first plans, the parent's export, and its longer training."""
    workers = carry_out(run)

    assert {"longer", "plan-step1", "uniform-plan-step1", "export-parent"} <= set(workers.handed_out[0])
    assert all(run.workspace.is_done(stage) for stage in stages_of(run.pipeline).values())


def test_what_is_of_this_machine_is_not_handed_out(run: SharedRun) -> None:
    """What measures it, and what says which one it is; in the end, when nothing else is under way."""
    workers = carry_out(run)
    given = [name for names in workers.handed_out for name in names]

    assert len(given) == len(set(given))
    here = {stage.name for stage in stages_of(run.pipeline).values() if stage.place is StagePlace.HERE}
    assert here == {"speed", "report"}
    assert not here & set(given)


def test_trainings_ask_for_the_gpu_that_the_recipe_names(run: SharedRun) -> None:
    """And so do plans and prunings, which compute there; evaluations do not."""
    train = run.loaded.recipe.train.model_copy(update={"device": "0"})
    on_gpu = replace(run, loaded=replace(run.loaded, recipe=run.loaded.recipe.model_copy(update={"train": train})))

    assert {"longer", "recover", "distill", "narrow", "plan", "prune"} <= (found := carry_out(on_gpu).on_gpu)
    assert not {name for name in found if name.startswith(("eval", "export", "quantize"))}


def test_a_stage_that_fails_keeps_back_only_what_needs_it(run: SharedRun) -> None:
    """A control, here; the bundle is made, the report is not."""
    with pytest.raises(RunError, match="longer: on box1: out of memory"):
        carry_out(run, failing="longer")

    assert run.workspace.is_done(run.pipeline.bundle)
    assert not run.workspace.is_done(run.pipeline.report)


def test_what_is_done_is_not_needed_again(run: SharedRun) -> None:
    carry_out(run)
    assert dict(run._needed(stages_of(run.pipeline).values())) == {}


def test_speed_is_measured_anew_on_another_machine(run: SharedRun) -> None:
    """With the report that it is part of; what was trained stays. Workers know whose machine is meant."""
    carry_out(run)
    inputs = run.pipeline._context.inputs
    elsewhere = replace(run, pipeline=CompressionPipeline(inputs, run.workspace, "another processor"))

    assert {stage.name for _, stage in elsewhere._needed(stages_of(elsewhere.pipeline).values())} == {"speed", "report"}
    assert run._recipe_order.machine == this_machine()


def test_what_leads_only_to_what_is_done_is_not_needed(run: SharedRun) -> None:
    """Folders before a finished stage may have been deleted."""
    run.workspace.share(run.pipeline.quantized, ProgressDisplay().stage)
    names = {stage.name for stage in dict(run._needed(stages_of(run.pipeline).values())).values()}

    assert "quantize" not in names
    assert "prove" in names


def test_an_order_comes_back_as_it_was(run: SharedRun) -> None:
    """A worker opens the very recipe, whose keys it compares."""
    stage = run.pipeline.quantized
    order = StageOrder.model_validate_json(run._order(stage))

    assert order.recipe.loaded == replace(run.loaded, path=run.loaded.path.absolute())
    assert isinstance(order.recipe.loaded, LoadedRecipe)


def test_a_gpu_by_another_number_is_refused(run: SharedRun) -> None:
    """A task sees its own GPU as the first one."""
    train = run.loaded.recipe.train.model_copy(update={"device": "1"})
    loaded = replace(run.loaded, recipe=run.loaded.recipe.model_copy(update={"train": train}))

    with pytest.raises(ConfigError, match=r"train\.device: expected 'cpu' or '0' with --ray, found '1'"):
        check_shareable(loaded)
