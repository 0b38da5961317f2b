# SPDX-License-Identifier: AGPL-3.0-or-later
"""What every step is given to make its stage: the opened recipe, and where stages leave their results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import BaseModel, JsonValue

from vision_line_compression.data.dataset import Dataset
from vision_line_compression.pipeline.inputs import Inputs
from vision_line_compression.pipeline.recipe import Recipe
from vision_line_compression.pipeline.stage import Stage, StagePlace, Work, Workspace
from vision_line_compression.pipeline.stage_machine import this_machine


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that stages read: one of a stage's outputs, or one that was there before."""

    path: Path
    stage: Stage | None = None

    @property
    def after(self) -> tuple[Stage, ...]:
        """The stages that must be done before the file is there."""
        return () if self.stage is None else (self.stage,)


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model of the report as a checkpoint, and the epochs it has had since the parent."""

    checkpoint: Artifact
    epochs: float


@dataclass(frozen=True, slots=True)
class Context:
    """One recipe in one workspace. Making a stage does nothing; `Workspace.ensure` carries it out.

    `machine` is the one of the command: what measures it is done anew where the command is given on another one.
    """

    inputs: Inputs
    workspace: Workspace
    machine: str = field(default_factory=this_machine)

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return self.inputs.loaded.recipe

    def varied(self, **sections: object) -> Context:
        """Return the same with some sections of the recipe changed, for a control that differs in them alone."""
        loaded = replace(self.inputs.loaded, recipe=self.recipe.model_copy(update=sections))
        return replace(self, inputs=replace(self.inputs, loaded=loaded))

    @property
    def parent(self) -> Artifact:
        """The checkpoint that is compressed."""
        return Artifact(self.inputs.loaded.checkpoint)

    def stage(
        self,
        name: str,
        work: Work,
        settings: Mapping[str, JsonValue],
        *,
        after: tuple[Stage, ...] = (),
        data: tuple[str, ...] = (),
        start: Artifact | None = None,
        version: int = 1,
        place: StagePlace = StagePlace.ANYWHERE,
    ) -> Stage:
        """Return a stage; `data` are the splits that it reads, `start` the checkpoint."""
        inputs = {part: self.inputs.hashes[part] for part in data}
        if start is not None and start.stage is None:
            inputs["checkpoint"] = self.inputs.parent.sha256
        before = (*(() if start is None else start.after), *after)
        return Stage(name, work, settings, inputs, before, version=version, place=place)

    def output(self, stage: Stage, name: str) -> Artifact:
        """Return the file that `stage` leaves under this name."""
        return Artifact(self.workspace.folder(stage) / name, stage)

    @property
    def test_images(self) -> Dataset:
        """The images of all figures in the report."""
        return self.inputs.report_images

    @property
    def calibration_split(self) -> str:
        """The part of the data whose images calibrate."""
        return "train" if self.inputs.calibration is None else "calibration"

    def calibration_images(self, most: int) -> Dataset:
        """Return at most this many images to calibrate with."""
        return (self.inputs.train if self.inputs.calibration is None else self.inputs.calibration).subset(most)


def plain(settings: BaseModel) -> dict[str, JsonValue]:
    """Return settings as plain values for a key."""
    values: dict[str, JsonValue] = settings.model_dump(mode="json")
    return values
