# SPDX-License-Identifier: AGPL-3.0-or-later
"""A recipe: what is made of which checkpoint with which data, as one TOML file; every problem reported at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from vision_line.config.toml import TomlTable, problems_of, read_toml
from vision_line_compression.evaluate.gates import GateSettings
from vision_line_compression.evaluate.results import EvaluationSettings
from vision_line_compression.files import FrozenModel, GrowingModel
from vision_line_compression.prune.settings import Budget, PruneSettings
from vision_line_compression.quantize.mixed_precision import MixedPrecisionSettings
from vision_line_compression.quantize.settings import PlacementSettings
from vision_line_compression.quantize.thresholds import Method
from vision_line_compression.training.schedule import (
    DistillMethod,
    DistillSettings,
    QatSettings,
    RecoverSettings,
    SparsifySettings,
    TrainSettings,
    plan_epochs,
)

Side = Annotated[int, Field(ge=32, le=8192, multiple_of=32)]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]

#: The teacher that is always there.
PARENT = "parent"

#: Instead of a method of calibration: the one that is best on validation images.
AUTO: Literal["auto"] = "auto"


class ParentSection(FrozenModel):
    """`[parent]`: the model that is compressed."""

    checkpoint: str = Field(min_length=1)
    """Ultralytics checkpoint: detection (v8, v10, 11, 26), OBB or segmentation (v8, 11, 26), relative to the recipe."""
    epochs: int | None = Field(default=None, ge=1)
    """Epochs that it was trained for; wanted where a length is given as a share of them."""


class DataSection(FrozenModel):
    """`[data]`: the images."""

    yaml: str = Field(min_length=1)
    """A YOLO data set's `data.yaml`, relative to the recipe; `train` trains and calibrates, `val` chooses."""
    judge: Literal["test", "val"] = "test"
    """The split of all figures in the report; nothing is trained, calibrated or chosen on it."""
    more: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Other `data.yaml` files, relative to the recipe, whose `train` and `val` images are added: reviewed ones."""
    group: str | None = Field(default=None, min_length=1)
    """Which images show the same board: `folder`, or a regular expression in file names; intervals are over groups."""

    @field_validator("group")
    @classmethod
    def _is_pattern(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as exc:
            raise ValueError(f"expected 'folder' or a regular expression: {exc}") from exc
        return value


class InputSection(FrozenModel):
    """`[input]`: the shapes that the bundle is made for."""

    shapes_hw: tuple[tuple[Side, Side], ...] = Field(default=((640, 640),), min_length=1)
    """Input shapes [height, width]; the first is the one that is measured."""


class OperatingSection(FrozenModel):
    """`[operating]`: the bundle's thresholds, at which misses are counted."""

    score: Share = 0.25
    """Lowest score of a detection."""
    nms_iou: Share = 0.7
    """Boxes of one class that overlap more than this are one."""


class PruneSection(GrowingModel, PruneSettings):
    """`[prune]`."""

    later: ClassVar[frozenset[str]] = frozenset({"latency_table"})

    latency_table: str | None = Field(default=None, min_length=1)
    """A table that `measure` made on the box that inspects, relative to the recipe; default: this machine's."""
    sensitivity_images: int = Field(default=32, ge=1)
    """Validation images on which each group's importance is measured."""
    sensitivity_size: Side = 320
    """Side of these images for the network, pixels."""


class StepSection(FrozenModel):
    """`[[step]]`: an intermediate stop of progressive pruning, before the budget of `[prune]`."""

    budget: Budget
    """Costs as shares of the parent's, not of the step's before."""
    epochs: int = Field(ge=1)
    """Epochs of fine-tuning after this step."""


class TeacherSection(FrozenModel):
    """`[teacher]`: a larger model of the family, trained on the recipe's data before it teaches."""

    train: Literal[True]
    """Must be true: a model that is trained already is named by `distill.teacher`."""
    epochs: int = Field(ge=1, le=10_000)
    """Length in epochs."""
    start: str | None = Field(default=None, min_length=1)
    """A checkpoint to begin with, of any classes, such as yolov8s.pt, relative to the recipe; default: none."""
    scale: Literal["n", "s", "m", "l", "x"] = "s"
    """Size of the family's network where there is no `start`."""
    rate_share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of the base rate at which it starts; it ends, along a cosine, at a hundredth of that."""
    warmup_epochs: float = Field(default=1.0, ge=0.0, le=10.0)
    """Epochs in which the rate rises from zero."""


class DistillSection(DistillSettings):
    """`[distill]`; without it there is no teacher."""

    teacher: str = PARENT
    """`parent`, or the checkpoint of a larger model of the same family, relative to the recipe."""
    keep: Literal["if-better", "always"] = "if-better"
    """`if-better`: the same epochs are trained without a teacher too, and what is better on `val` goes on."""


class QuantizeSection(PlacementSettings):
    """`[quantize]`."""

    method: Method | Literal["auto"] = Method.MAX
    """How ranges are chosen: `max`, `percentile`, `mse`, `entropy`; `auto`: whichever is best on validation images."""
    calibration: str | None = Field(default=None, min_length=1)
    """A folder of images, as of `vision-line capture`, relative to the recipe; default: training images."""
    calibration_images: int = Field(default=300, ge=1)
    """At most this many images give the ranges of activations, evenly chosen, as the runtime prepares them."""
    compare: tuple[Method, ...] = ()
    """Methods to show in the report beside the one that ships."""
    protect: MixedPrecisionSettings | None = None
    """`[quantize.protect]`: search for the parts that should stay float, by mAP50-95 on validation images."""
    protect_images: int = Field(default=200, ge=1)
    """Validation images of this search, and of the choice of `auto`."""


class ProofSection(FrozenModel):
    """`[proof]`: what the bundle's proof is made of."""

    pictures: Literal["drawn", "calibration"] = "drawn"
    """`drawn`, or `calibration`: parts of the calibration images, which then leave with every copy of the bundle."""


class Control(StrEnum):
    """What the result is compared with; those of one change differ from the product's recipe in that alone."""

    LONGER = "longer"  # the parent, trained for as many more epochs
    NO_TEACHER = "no-teacher"  # the same plan and epochs, labels only
    UNIFORM = "uniform"  # one relative width for all layers, the same budget
    ONE_SHOT = "one-shot"  # without the intermediate steps, the same epochs
    NARROW = "narrow"  # the family's network scaled down to the budget, trained from scratch as long as all together
    NARROW_PRETRAINED = "narrow-pretrained"  # likewise, begun with the family's pretrained weights, the same teacher
    PARENT_INT8 = "parent-int8"  # the parent, quantized as the product is, nothing else
    PARENT_INT8_NNCF = "parent-int8-nncf"  # the parent, quantized as `yolo export format=openvino int8=True` does it
    TEMPERATURE = "temperature"  # the other schedule: 8 to 4, or a constant 2
    ATTENTION = "attention"  # without attention transfer, or with it
    STAGED_RATE = "staged-rate"  # without the first gentle phase, or with it
    NECK_WHOLE = "neck-whole"  # no channel of the neck goes
    NECK_FREE = "neck-free"  # any channel of the neck may go
    FIFTH = "fifth"  # a fifth of the parent's epochs, whatever the recipe trains for

    @property
    def trains(self) -> bool:
        """Return whether it costs a training."""
        return self not in (Control.PARENT_INT8, Control.PARENT_INT8_NNCF)


#: What controls change of `[prune]`.
PLANNED_OTHERWISE: dict[Control, dict[str, object]] = {
    Control.UNIFORM: {"method": "uniform"},
    Control.NECK_WHOLE: {"neck": "whole"},
    Control.NECK_FREE: {"neck": "free"},
}


class ReportSection(GrowingModel):
    """`[report]`."""

    later: ClassVar[frozenset[str]] = frozenset({"pretrained", "seeds"})

    controls: tuple[Control, ...] = ()
    """What the product is compared with; see [the controls](#controls)."""
    pretrained: str | None = Field(default=None, min_length=1)
    """What `narrow-pretrained` begins with: the family's pretrained checkpoint, such as yolov8n.pt."""
    corrupted_images: int = Field(default=0, ge=0)
    """Images on which float and INT8 are compared when corrupted by rain, fog, blur, noise, exposure; 0: none."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Further seeds with which product and controls are trained again: intervals hold the spread between trainings."""


class Recipe(GrowingModel):
    """The whole file."""

    later: ClassVar[frozenset[str]] = frozenset({"teacher"})

    recipe_version: Literal[1]
    """Must be 1."""
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    """Name of the bundle and of the run's folder."""
    seed: int = Field(default=0, ge=0)
    """Of shuffling and augmentation."""
    parent: ParentSection
    """The model that is compressed."""
    data: DataSection
    """The images."""
    input: InputSection = InputSection()
    """The shapes that the bundle is made for."""
    operating: OperatingSection = OperatingSection()
    """The bundle's thresholds."""
    train: TrainSettings = TrainSettings()
    """What all trainings share."""
    sparsify: SparsifySettings | None = None
    """Training before pruning, for `importance = "bn"`."""
    prune: PruneSection | None = None
    """What the model may cost and where channels may go; without it nothing is pruned, and the parent trains on."""
    step: tuple[StepSection, ...] = ()
    """Intermediate stops of progressive pruning."""
    recover: RecoverSettings | None = None
    """Training after pruning; without it nothing is pruned, and where nothing else trains the parent is quantized."""
    teacher: TeacherSection | None = None
    """Training of a larger model, which then teaches."""
    distill: DistillSection | None = None
    """Training with a teacher, after the fine-tuning."""
    qat: QatSettings | None = None
    """Quantization-aware training, after all others."""
    quantize: QuantizeSection = QuantizeSection()
    """INT8."""
    proof: ProofSection = ProofSection()
    """What the bundle's proof is made of."""
    evaluate: EvaluationSettings = EvaluationSettings()
    """How models are measured."""
    gates: GateSettings = GateSettings()
    """What the result has to reach."""
    report: ReportSection = ReportSection()
    """What it is compared with."""

    @model_validator(mode="after")
    def _trained_again(self) -> Recipe:
        """Let pass what is trained for as long as is known, and nothing that would stay as it was cut."""
        for section in ("prune", "sparsify"):
            if self.recover is None and getattr(self, section) is not None:
                raise ValueError(f"{section}: what it takes from the network [recover] gives back, which is missing")
        try:
            if self.recover is not None:
                plan_epochs(self.recover, self.parent.epochs)
        except ValueError as exc:
            raise ValueError(f"recover.share: {exc}") from exc
        if self.step and self.prune is None:
            raise ValueError("step: stops on the way to [prune], which is missing")
        if self.prune is not None:
            _check_descent([*(step.budget for step in self.step), self.prune.budget])
        if self.teacher is not None and (self.distill is None or self.distill.teacher != PARENT):
            raise ValueError("teacher: is trained to teach in [distill], which is missing or names another teacher")
        return self

    @model_validator(mode="after")
    def _measurable(self) -> Recipe:
        for key, own in (("score_threshold", "score"), ("nms_iou", "nms_iou")):
            if getattr(self.evaluate, key) is not None:
                raise ValueError(
                    f"evaluate.{key}: the bundle inspects with operating.{own}, and its gates judge it there: "
                    f"set operating.{own}"
                )
        if self.seed in self.report.seeds or len(set(self.report.seeds)) < len(self.report.seeds):
            raise ValueError(f"report.seeds: expected seeds that differ from each other and from seed = {self.seed}")
        if self.report.seeds and not self.trains:
            raise ValueError("report.seeds: are those of further trainings, and this recipe trains nothing")
        if self.gates.corrupted_miss_rise is not None and not self.report.corrupted_images:
            raise ValueError("gates.corrupted_miss_rise: is measured on report.corrupted_images, expected some")
        missing = [
            f"report.controls: {control.value!r} {need}"
            for control, (present, need) in self._needs().items()
            if control in self.report.controls and not present
        ]
        if missing:
            raise ValueError("; ".join(missing))
        return self

    def _needs(self) -> dict[Control, tuple[bool, str]]:
        """Return, for each control that needs something, whether the recipe has it, and what it needs."""
        distills, prunes, length = self.distill is not None, self.prune is not None, self.parent.epochs is not None
        neck = None if self.prune is None else self.prune.neck
        return {
            Control.LONGER: (self.trains, "trains the parent for as long as the product, which is not trained"),
            Control.PARENT_INT8: (
                self.trains or self.quantize.protect is not None,
                "is the product itself where nothing is trained and no part is searched that stays float",
            ),
            Control.STAGED_RATE: (self.recover is not None, "compares with [recover], which is missing"),
            Control.NO_TEACHER: (distills, "compares with [distill], which is missing"),
            Control.TEMPERATURE: (
                self.distill is not None and self.distill.method is DistillMethod.LOGITS,
                "compares with [distill] by logits, which is missing",
            ),
            Control.ATTENTION: (
                self.distill is not None and self.distill.method is DistillMethod.LOGITS,
                "compares with [distill] by logits, which is missing",
            ),
            Control.ONE_SHOT: (bool(self.step), "compares with [[step]], which is missing"),
            Control.UNIFORM: (prunes, "compares with [prune], which is missing"),
            Control.NECK_WHOLE: (prunes and neck != "whole", "compares with [prune], whose neck is not whole"),
            Control.NECK_FREE: (prunes and neck != "free", "compares with [prune], whose neck is not free"),
            Control.NARROW: (
                prunes and length,
                "has the budget of [prune] and trains for as long as all together, parent.epochs: one of them, which "
                "is missing",
            ),
            Control.NARROW_PRETRAINED: (
                prunes and length and self.report.pretrained is not None,
                "has the budget of [prune], trains for as long as all together, parent.epochs, and begins with "
                "report.pretrained: one of them is missing",
            ),
            Control.FIFTH: (
                length and self.recover is not None,
                "trains for a fifth of parent.epochs with [recover], one of which is missing",
            ),
        }

    @property
    def trains(self) -> bool:
        """Whether the product is trained after the parent."""
        return not (self.recover is None and self.distill is None and self.qat is None)

    @property
    def pruning(self) -> PruneSection:
        """`[prune]` of a recipe that has one.

        Raises:
            ValueError: it has none, so nobody may ask.
        """
        if self.prune is None:
            raise ValueError(f"{self.name}: the recipe has no [prune]")
        return self.prune

    @property
    def recovery(self) -> RecoverSettings:
        """`[recover]` of a recipe that has one.

        Raises:
            ValueError: it has none, so nobody may ask.
        """
        if self.recover is None:
            raise ValueError(f"{self.name}: the recipe has no [recover]")
        return self.recover


def _check_descent(budgets: Sequence[Budget]) -> None:
    """Let budgets pass each of which is below the one before: what a step has pruned does not come back.

    Raises:
        ValueError: one of them is not.
    """
    for number, (before, after) in enumerate(pairwise(budgets), start=1):
        for kind, share in before.shares.items():
            if share < after.shares.get(kind, 0.0):
                raise ValueError(
                    f"step[{number}].budget.{kind}: expected at least {after.shares[kind]:g}, which comes after it, "
                    f"found {share:g}"
                )


@dataclass(frozen=True, slots=True)
class LoadedRecipe:
    """A valid recipe and the files that it names, made absolute; they are not opened yet."""

    recipe: Recipe
    path: Path
    checkpoint: Path
    data_yaml: Path
    teacher: Path | None
    calibration: Path | None = None
    more_data: tuple[Path, ...] = ()
    teacher_start: Path | None = None
    pretrained: Path | None = None
    latency_table: Path | None = None


def load_recipe(
    path: Path, checkpoint: Path | None = None, data_yaml: Path | None = None, more_data: Sequence[Path] = ()
) -> LoadedRecipe:
    """Read and check `path`; `checkpoint` and `data_yaml` replace what it names, and may be missing there then.

    `more_data` is added to the data sets that it names.

    Raises:
        ConfigError: all problems, each as `file:line: key: what was found, what was expected`.
    """
    file = read_toml(path)
    data = _replaced(file.data, "parent", "checkpoint", checkpoint)
    data = _replaced(data, "data", "yaml", data_yaml)
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as exc:
        raise file.error(problems_of(exc, Recipe)) from exc
    folder = path.parent.absolute()
    teacher = None
    if recipe.distill is not None and recipe.distill.teacher != PARENT:
        teacher = folder / recipe.distill.teacher
    return LoadedRecipe(
        recipe=recipe,
        path=path,
        checkpoint=folder / recipe.parent.checkpoint,
        data_yaml=folder / recipe.data.yaml,
        teacher=teacher,
        calibration=_named(folder, recipe.quantize.calibration),
        more_data=(*(folder / name for name in recipe.data.more), *(added.absolute() for added in more_data)),
        teacher_start=_named(folder, None if recipe.teacher is None else recipe.teacher.start),
        pretrained=_named(folder, recipe.report.pretrained),
        latency_table=_named(folder, None if recipe.prune is None else recipe.prune.latency_table),
    )


def _named(folder: Path, name: str | None) -> Path | None:
    return None if name is None else folder / name


def _replaced(data: TomlTable, section: str, key: str, path: Path | None) -> TomlTable:
    """Return `data` with an option's path, which is relative to the working directory."""
    table = data.get(section, {})
    if path is None or not isinstance(table, dict):
        return data
    return data | {section: table | {key: str(path.absolute())}}
