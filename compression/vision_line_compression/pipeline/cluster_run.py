# SPDX-License-Identifier: AGPL-3.0-or-later
"""A recipe's stages shared with the machines of a Ray cluster: those that do not need each other at the same time."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from vision_line.cluster.ray_cluster import RayCluster, WorkerNode, connected
from vision_line.cluster.remote_work import RemoteWork
from vision_line.cluster.task_board import WorkerSlot, slots_of
from vision_line.cluster.worker_check import NodeQuestion, Requirements, fit_nodes
from vision_line.devices.proof.processor import this_processor
from vision_line.errors import ConfigError, RunError
from vision_line_compression.pipeline.graph import CompressionPipeline
from vision_line_compression.pipeline.recipe import LoadedRecipe
from vision_line_compression.pipeline.stage import Stage, StagePlace, Workspace
from vision_line_compression.pipeline.stage_machine import LIBRARIES, this_machine
from vision_line_compression.pipeline.stage_worker import (
    WITNESS,
    PipelineAnswer,
    RecipeOrder,
    StageOrder,
    do_stage,
    is_seen,
    last_keys,
    see_pipeline,
    stages_of,
)
from vision_line_compression.progress import ProgressDisplay

REQUIRED = Requirements(("vision_line", "vision_line_compression"), LIBRARIES)


def check_shareable(loaded: LoadedRecipe) -> None:
    """Refuse a training device that would be another one in each task: Ray shows a task its own GPU alone.

    Raises:
        ConfigError: the recipe names one by another number than 0.
    """
    device = loaded.recipe.train.device
    if device not in ("cpu", "0"):
        raise ConfigError(f"{loaded.path}: train.device: expected 'cpu' or '0' with --ray, found {device!r}")


@dataclass(frozen=True, slots=True)
class SharedRun:
    """A recipe whose stages are to be done on a cluster, with those that must be done here."""

    pipeline: CompressionPipeline
    workspace: Workspace
    loaded: LoadedRecipe
    screen: ProgressDisplay

    def carry_out(self, address: str) -> None:
        """Do all that bundle and report need and that is not done.

        What does not depend on a stage that fails is done nevertheless.

        Raises:
            ConfigError: no such cluster, or none of its nodes can do the work.
            RunError: a stage failed, or another run works in the folder.
        """
        stages = stages_of(self.pipeline)
        needed = dict(self._needed(stages.values()))
        if all(stage.place is StagePlace.HERE for stage in needed.values()):
            return  # what is left is of this machine
        with self.workspace.locked(), connected(address) as cluster, self._witness() as word:
            nodes = self._fit_nodes(cluster, word)
            slots = [slot for node, answer in nodes.items() for slot in self._slots(node, answer)]
            self._check_covered(needed.values(), slots)
            with closing(RemoteWork[Stage](cluster, list(nodes), slots, do_stage)) as work:
                self._carry_out(needed, work)

    def _carry_out(self, needed: Mapping[str, Stage], work: RemoteWork[Stage]) -> None:
        todo, failed = dict(needed), list[RunError]()
        while todo:
            ready = [
                stage
                for stage in todo.values()
                if all(before.key not in needed or self.workspace.is_done(before) for before in stage.after)
            ]
            for stage in ready:
                if stage.place is not StagePlace.HERE:
                    work.start(stage, self._order(stage), stage.place, needs_gpu=self._trains_on_gpu(stage))
                    del todo[stage.key]
            if work.is_busy:
                failed += self._finished(work)
            elif ready:  # alone, now that nothing else of this run is under way
                stage = todo.pop(ready[0].key)
                self.workspace.share(stage, self.screen.stage)
            else:
                break
        while work.is_busy:
            failed += self._finished(work)
        if failed:
            raise failed[0]

    def _finished(self, work: RemoteWork[Stage]) -> Iterator[RunError]:
        """Wait for stages that are over, and yield what failed."""
        for stage, outcome, node in work.wait():
            if isinstance(outcome, RunError):
                error = RunError(f"{stage.name}: {outcome}")
            elif is_seen(self.workspace, stage):
                self.screen.say(f"{stage.name}: done on {node}")
                continue
            else:
                error = RunError(f"{self.workspace.folder(stage)}: done on {node}, and its result is not seen here")
            self.screen.warn(str(error))
            yield error

    def _needed(self, stages: Iterable[Stage]) -> Iterator[tuple[str, Stage]]:
        """Yield the stages that are not done, and that bundle or report lead to by others that are not."""
        wanted = {*last_keys(self.pipeline)}
        for stage in reversed(list(stages)):
            if stage.key in wanted and not self.workspace.is_done(stage):
                wanted |= {before.key for before in stage.after}
                yield stage.key, stage

    def _fit_nodes(self, cluster: RayCluster, word: str) -> dict[WorkerNode, PipelineAnswer]:
        keys = last_keys(self.pipeline)

        def lacks(_node: WorkerNode, text: str) -> str:
            answer = PipelineAnswer.model_validate_json(text)
            if answer.word != word:
                return f"does not see the folder {self.workspace.root.absolute()} of this machine"
            if answer.keys != keys:
                return "sees other inputs than this machine: checkpoint, data set or calibration images"
            if not self._kinds(answer):
                own = this_processor().instruction_set
                return f"its processor ({answer.instruction_set}) computes INT8 otherwise than this one ({own})"
            return ""

        question = NodeQuestion(see_pipeline, self._recipe_order.model_dump_json(), self._gpus, lacks)
        found = fit_nodes(cluster, REQUIRED, question)
        return {node: PipelineAnswer.model_validate_json(text) for node, text in found.items()}

    def _kinds(self, answer: PipelineAnswer) -> list[str]:
        """Return which stages a node does: a GPU trains in any machine, all else has to be computed as here."""
        is_alike = answer.instruction_set == this_processor().instruction_set
        trains = bool(answer.gpus) if self._wants_gpu else is_alike
        return [*([StagePlace.ANYWHERE] if is_alike else []), *([StagePlace.TRAINING] if trains else [])]

    def _slots(self, node: WorkerNode, answer: PipelineAnswer) -> list[WorkerSlot]:
        kinds = self._kinds(answer)
        return slots_of(node.id, kinds, node.cpus, node.gpus if self._wants_gpu and answer.gpus else 0)

    def _check_covered(self, stages: Iterable[Stage], slots: Iterable[WorkerSlot]) -> None:
        there = frozenset[str]().union(*(slot.kinds for slot in slots))
        if any(stage.place is StagePlace.TRAINING for stage in stages) and StagePlace.TRAINING not in there:
            raise ConfigError(f"{self.loaded.path}: train.device: no node that can do this work has a GPU")
        if any(stage.place is StagePlace.ANYWHERE for stage in stages) and StagePlace.ANYWHERE not in there:
            own = this_processor().instruction_set
            raise ConfigError(f"--ray: no node has a processor that computes INT8 as this one ({own}), to evaluate on")

    def _gpus(self, node: WorkerNode) -> float:
        return 1.0 if self._wants_gpu and node.gpus else 0.0

    @property
    def _wants_gpu(self) -> bool:
        return self.loaded.recipe.train.device != "cpu"

    def _trains_on_gpu(self, stage: Stage) -> bool:
        return self._wants_gpu and stage.place is StagePlace.TRAINING

    @property
    def _recipe_order(self) -> RecipeOrder:
        loaded = replace(self.loaded, path=self.loaded.path.absolute())
        return RecipeOrder(loaded=loaded, root=self.workspace.root.absolute(), machine=this_machine())

    def _order(self, stage: Stage) -> str:
        return StageOrder(recipe=self._recipe_order, key=stage.key).model_dump_json()

    @contextmanager
    def _witness(self) -> Iterator[str]:
        """Leave a word in the folder while the block runs."""
        path, word = self.workspace.root / WITNESS, secrets.token_hex(16)
        path.write_text(word, encoding="utf-8")
        try:
            yield word
        finally:
            path.unlink(missing_ok=True)
