# SPDX-License-Identifier: AGPL-3.0-or-later
"""How a model is trained: the settings of a recipe and the phases that follow from them. Pure; imports no torch."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from vision_line_compression.files import FrozenModel

Share = Annotated[float, Field(gt=0.0, le=1.0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class TrainSettings(FrozenModel):
    """What all trainings of a run share."""

    image_size: int = Field(default=640, ge=32, le=4096, multiple_of=32)
    """Side of the square training images, pixels."""
    batch: int = Field(default=16, ge=2, le=1024)
    """Images in a batch."""
    nominal_batch: int | None = Field(default=None, ge=1, le=4096)
    """Gradients add up over batches to about this many images a step; default: one batch, so few epochs have steps."""
    base_rate: float = Field(default=1e-3, gt=0.0, le=1.0)
    """The learning rate that the parent was trained with."""
    optimizer: Literal["AdamW", "SGD"] = "AdamW"
    """Never chosen automatically: Ultralytics would choose the learning rate with it."""
    momentum: float = Field(default=0.9, ge=0.0, lt=1.0)
    """SGD's momentum or AdamW's first beta."""
    weight_decay: float = Field(default=5e-4, ge=0.0, lt=1.0)
    """Weight decay."""
    warmup_epochs: float = Field(default=0.0, ge=0.0, le=10.0)
    """Epochs in which the rate rises from zero; a model that is being fine-tuned needs none."""
    mosaic: Probability = 1.0
    """Share of images that are mosaics of four."""
    close_mosaic: int = Field(default=2, ge=0)
    """This many last epochs of a phase see whole images only."""
    scale: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Images are scaled by up to this share."""
    translate: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Images are moved by up to this share."""
    flip_left_right: Probability = 0.5
    """Share of images that are mirrored."""
    flip_up_down: Probability = 0.0
    """Share of images that are turned upside down."""
    hue: Probability = 0.015
    """Change of hue."""
    saturation: Probability = 0.7
    """Change of saturation."""
    brightness: Probability = 0.4
    """Change of brightness."""
    corrupted: Probability = 0.0
    """Share of images with rain, fog, blur, noise or wrong exposure, as in `report.corrupted_images`."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """`bf16`: convolutions in bfloat16: twice as fast where a CPU has AMX, 13 times slower where it has AVX2 alone."""
    device: str = Field(default="cpu", pattern=r"^(cpu(,cpu)*|\d+(,\d+)*)$")
    """`cpu`, the number of a CUDA device, or several that share each batch: `0,1`; `cpu,cpu` tries that out."""
    threads: int = Field(default=0, ge=0, le=1024)
    """CPU threads; 0: one for each core that this process may use."""
    workers: int = Field(default=0, ge=0, le=64)
    """Processes that prepare images; 0: the training thread does it between steps."""
    cache: bool = True
    """Keep decoded images in memory."""


class RecoverSettings(FrozenModel):
    """`[recover]`: fine-tuning of a pruned model, first gently, then at most of the base rate."""

    epochs: int | None = Field(default=None, ge=1, le=10_000)
    """Length in epochs."""
    share: Share | None = None
    """Length as a share of the epochs that the parent was trained for (0.2 in the published recipe)."""
    settle_rate: float = Field(default=1e-4, gt=0.0, le=1.0)
    """Constant learning rate of the first phase."""
    settle_share: Probability = 0.25
    """The first phase takes at most this share of the epochs; 0: there is none."""
    settle_patience: int = Field(default=2, ge=1)
    """The first phase ends when the validation has not improved for this many epochs."""
    rate_share: Share = 0.6
    """Share of the base rate at which the second phase starts."""
    final_share: Share = 0.01
    """The second phase ends, along a cosine, at this share of its first rate."""
    calibration_images: int = Field(default=200, ge=1)
    """Training images that the batch norm statistics are estimated on right after pruning."""

    @model_validator(mode="after")
    def _one_length(self) -> RecoverSettings:
        if (self.epochs is None) == (self.share is None):
            raise ValueError("expected either epochs or share")
        return self


class DistillMethod(StrEnum):
    """What the student compares with its teacher."""

    LOGITS = "logits"  # class scores and box bins on the foreground, and where the neck's outputs look
    CHANNEL_WISE = "channel-wise"  # CWD on the neck's outputs
    SCORE_L2 = "score-l2"  # Ultralytics' own: neck outputs, weighted by the teacher's scores


class DistillSettings(FrozenModel):
    """`[distill]`: training with a teacher."""

    epochs: int = Field(ge=1, le=10_000)
    """Length in epochs."""
    rate_share: Share = 0.6
    """Share of the base rate at which it starts."""
    final_share: Share = 0.01
    """It ends, along a cosine, at this share of its first rate."""
    method: DistillMethod = DistillMethod.LOGITS
    """`logits`; `channel-wise` and `score-l2` serve comparisons."""
    temperature: float = Field(default=2.0, ge=0.1, le=100.0)
    """Softens both sides at the beginning (8 in the published schedule)."""
    final_temperature: float = Field(default=2.0, ge=0.1, le=100.0)
    """At the end, reached linearly (4 in the published schedule)."""
    class_weight: float = Field(default=1.0, ge=0.0)
    """Weight of the class scores' divergence."""
    box_weight: float = Field(default=1.0, ge=0.0)
    """Weight of the box sides' divergence, and of the difference of rotated boxes' angles."""
    attention_weight: float = Field(default=1.0, ge=0.0)
    """Weight of the attention transfer, summed over the three neck outputs."""
    feature_weight: float = Field(default=6.0, ge=0.0)
    """Weight of `channel-wise` and `score-l2` (6 in Ultralytics)."""
    foreground_score: float = Field(default=0.05, gt=0.0, lt=1.0)
    """Places where the teacher is surer than this count as foreground too."""
    until: Share = 0.9
    """After this share of the epochs the labels teach alone."""


class SparsifySettings(FrozenModel):
    """`[sparsify]`: training before pruning that drives the scales of unneeded channels to zero."""

    epochs: int = Field(ge=1, le=10_000)
    """Length in epochs."""
    strength: float = Field(default=1e-2, gt=0.0, le=1.0)
    """Weight of the L1 norm of all batch norm scales, falling linearly to a tenth."""
    rate_share: Share = 0.6
    """Share of the base rate at which it starts."""


class QatSettings(FrozenModel):
    """`[qat]`: training while weights and activations are rounded to INT8, before the quantization.

    Ultralytics inserts the rounding (NVIDIA Model Optimizer's default INT8 configuration: inputs of convolutions with
    one scale, weights with one for each channel, ranges fixed at the beginning, the head's last layers float). What
    it learns are the weights; the INT8 file gets its ranges from `[quantize]` as ever.
    """

    epochs: int = Field(ge=1, le=10_000)
    """Length in epochs."""
    rate_share: Share = 0.1
    """Share of the base rate at which it starts."""
    final_share: Share = 0.01
    """It ends, along a cosine, at this share of its first rate."""


class Phase(FrozenModel):
    """One training with its own optimizer, from one checkpoint to the next."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    """Names its folder."""
    epochs: int = Field(ge=1)
    """Most epochs."""
    rate: float = Field(gt=0.0)
    """First learning rate."""
    final_share: Share = 1.0
    """Last learning rate as a share of the first."""
    patience: int | None = None
    """End after this many epochs without improvement; None: never."""
    sparsity: float = Field(default=0.0, ge=0.0)
    """Weight of the L1 norm of the batch norm scales."""


class Schedule(FrozenModel):
    """A training in phases; a function of nothing but the recipe, so that its hash names its result."""

    phases: tuple[Phase, ...] = Field(min_length=1)
    """One after the other."""
    train: TrainSettings = TrainSettings()
    """What they share."""
    seed: int = Field(default=0, ge=0)
    """Of shuffling and augmentation; an interrupted training continues with other random numbers."""

    @property
    def epochs(self) -> int:
        """The most epochs of all phases together."""
        return sum(phase.epochs for phase in self.phases)


def plan_epochs(settings: RecoverSettings, parent_epochs: int | None) -> int:
    """Return the length of a fine-tuning in epochs.

    Raises:
        ValueError: a share of the parent's epochs is wanted, and how long the parent was trained is not known.
    """
    if settings.share is None:
        return settings.epochs or 1
    if parent_epochs is None:
        raise ValueError("is a share of the parent's epochs, expected parent.epochs")
    return max(1, round(settings.share * parent_epochs))


def plan_training(name: str, epochs: int, train: TrainSettings, seed: int) -> Schedule:
    """Return the one phase of a training that is no fine-tuning: the base rate along a cosine, after a warm-up."""
    settings = train.model_copy(update={"warmup_epochs": min(3.0, epochs / 10)})
    phase = Phase(name=name, epochs=epochs, rate=settings.base_rate, final_share=0.01)
    return Schedule(phases=(phase,), train=settings, seed=seed)


def plan_fine_tuning(settings: RecoverSettings, train: TrainSettings, parent_epochs: int | None, seed: int) -> Schedule:
    """Return the two phases: gently until settled, then most of the base rate along a cosine.

    Raises:
        ValueError: see `plan_epochs`.
    """
    epochs = plan_epochs(settings, parent_epochs)
    settling = min(math.ceil(settings.settle_share * epochs), epochs - 1)
    phases = [
        Phase(
            name="cosine",
            epochs=epochs - settling,
            rate=settings.rate_share * train.base_rate,
            final_share=settings.final_share,
        )
    ]
    if settling:
        first = Phase(name="settle", epochs=settling, rate=settings.settle_rate, patience=settings.settle_patience)
        phases.insert(0, first)
    return Schedule(phases=tuple(phases), train=train, seed=seed)


def plan_distillation(settings: DistillSettings, train: TrainSettings, seed: int) -> Schedule:
    """Return the one phase of a distillation; without a teacher it is the control that says what the teacher gave."""
    rate = settings.rate_share * train.base_rate
    phase = Phase(name="distill", epochs=settings.epochs, rate=rate, final_share=settings.final_share)
    return Schedule(phases=(phase,), train=train, seed=seed)


def plan_sparsifying(settings: SparsifySettings, train: TrainSettings, seed: int) -> Schedule:
    """Return the one phase of a sparsity training."""
    rate = settings.rate_share * train.base_rate
    phase = Phase(name="sparsify", epochs=settings.epochs, rate=rate, final_share=0.1, sparsity=settings.strength)
    return Schedule(phases=(phase,), train=train, seed=seed)


def plan_qat(settings: QatSettings, train: TrainSettings, seed: int) -> Schedule:
    """Return the one phase of a quantization-aware training, on one device.

    It is in float32, since bfloat16 rounds as coarsely as INT8.
    """
    rate = settings.rate_share * train.base_rate
    alone = train.model_copy(update={"precision": "fp32", "device": train.device.split(",", maxsplit=1)[0]})
    phase = Phase(name="qat", epochs=settings.epochs, rate=rate, final_share=settings.final_share)
    return Schedule(phases=(phase,), train=alone, seed=seed)
