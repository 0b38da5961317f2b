# SPDX-License-Identifier: AGPL-3.0-or-later
"""The schema of `bundle.json`: what travels with a model file so that a device can run it without guessing.

A bundle is a folder with `bundle.json` and the files that it names. `bundle_version` rises when a reader of the older
version could go wrong; a reader refuses versions that it does not know.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from vision_line.devices.model.heads import HeadKind
from vision_line.devices.model.tasks import ModelTask, task_problem
from vision_line.documented import Documented

BUNDLE_FILE = "bundle.json"
BUNDLE_VERSION = 1

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # beside bundle.json, never elsewhere
Side = Annotated[int, Field(ge=32, le=8192)]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
InputDtype = Literal["float32", "float16"]
VariantName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
MAX_CLASS_NAME = 100
ClassName = Annotated[str, Field(min_length=1, max_length=MAX_CLASS_NAME)]

#: Variant for GPUs whose weights alone are INT8: for a library that computes in float whatever the pairs say.
WEIGHTS_ALONE = "qdq-s8-weights-fp16"
#: Variant for GPUs without INT8: the float model that was quantized, in float16. Used where a GPU was timed with it.
WHOLLY_FLOAT16 = "fp16"

#: Unicode categories of what no name shows: controls, surrogates, unassigned, line and paragraph separators.
_INVISIBLE = frozenset({"Cc", "Cs", "Cn", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"  # format characters that some scripts are written with


def check_class_names(names: Sequence[str]) -> None:
    """Refuse names that terminals, spreadsheets or people would misread: they stand in every record and alarm.

    Raises:
        ValueError: a name is empty, too long, there twice, or holds control or text direction characters.
    """
    for name in names:
        if not name.strip():
            raise ValueError(f"classes: found {name!r}, a name without a letter")
        if len(name) > MAX_CLASS_NAME:
            raise ValueError(f"classes: found a name of {len(name)} characters, expected at most {MAX_CLASS_NAME}")
        if not all(map(_is_visible, name)):
            raise ValueError(f"classes: found {name!r}, expected no control or text direction characters")
    if len({unicodedata.normalize("NFC", name.strip()) for name in names}) != len(names):
        raise ValueError("classes: names must differ")


def _is_visible(character: str) -> bool:
    category = unicodedata.category(character)
    return category not in _INVISIBLE and (category != "Cf" or character in _JOINERS)


class _Frozen(Documented, BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BundleInput(_Frozen):
    """The network's only input."""

    name: str
    """The input's name in the graph."""
    layout: Literal["NCHW"] = "NCHW"
    """Order of the axes."""
    dtype: InputDtype = "float32"
    """Element type of the model file's input; each variant's file says its own."""
    dynamic: bool
    """true: height and width may be any multiple of `stride`; false: only the one shape in `input_shapes_hw`."""


class BundleVariant(_Frozen):
    """The same network written in another way, for processors that compute the first one wrongly or slowly."""

    form: VariantName
    """Name of the variant: `qdq-u8-7bit` for unsigned activations with zero point 128 and weights within -64..63."""
    file: FileName
    """File name in the bundle's folder."""
    sha256: Sha256
    """Hash of the file."""


class BundleModel(_Frozen):
    """The model file."""

    file: FileName
    """File name in the bundle's folder."""
    sha256: Sha256
    """Hash of the file; a file that differs is refused."""
    precision: Literal["fp32", "fp16", "int8"]
    """Precision of most weights and activations."""
    quantization: str | None = None
    """Form of the quantization, `qdq-s8-symmetric` for signed symmetric Q/DQ pairs; null where there is none."""
    input: BundleInput
    """The network's input."""
    forms: tuple[BundleVariant, ...] = ()
    """Other variants of the file for processors, in the order in which they are tried."""
    gpu_variants: tuple[BundleVariant, ...] = ()
    """Variants for GPUs: `qdq-s8-symmetric-fp16`, `qdq-s8-weights-fp16` for TensorRT-RTX, `fp16` where it is faster."""

    @property
    def variant(self) -> str:
        """Return the name of the variant that `file` has: its quantization's, or its precision where it has none."""
        return self.quantization or self.precision


class BundleProof(_Frozen):
    """Small inputs, and what each variant of the model makes of them when it is executed in float32."""

    file: FileName
    """File name in the bundle's folder."""
    sha256: Sha256
    """Hash of the file."""


class BundlePreprocessing(_Frozen):
    """How a frame becomes the input; `definition` fixes it bit for bit, the rest says the same for people."""

    definition: Literal[1]
    """Number of the definition in `vision_line.devices.preprocessing.definition`."""
    scale: Literal["1/255"] = "1/255"
    """Factor from 8-bit values to the input's."""
    padding_value: Literal[114] = 114
    """8-bit value around the frame."""
    colour: Literal["RGB"] = "RGB"
    """Order of the channels."""


class BundleThresholds(_Frozen):
    """The thresholds that the results were measured with; the defaults of an inspection."""

    score: Share
    """Lowest score of a detection."""
    nms_iou: Share
    """Boxes of one class that overlap more than this are one."""


class Bundle(_Frozen):
    """`bundle.json`."""

    bundle_version: Literal[1]
    """Version of this schema."""
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    """Name of the model, shown and logged."""
    task: ModelTask
    """What the model is for: `detect`, boxes, `obb`, rotated boxes, or `segment`, masks."""
    classes: tuple[ClassName, ...] = Field(min_length=1)
    """Class names in the order of the network's outputs."""
    stride: int = Field(ge=1, le=256)
    """Input sides are multiples of this."""
    head: HeadKind
    """`yolov8`: (1, 4 + classes, n), NMS outside; `end2end`: (1, n, 6); `-obb`: angle behind; `-seg`: 32 behind."""
    model: BundleModel
    """The model file."""
    input_shapes_hw: tuple[tuple[Side, Side], ...] = Field(min_length=1)
    """Input shapes [height, width] that the model was evaluated at; no other is used."""
    preprocessing: BundlePreprocessing
    """How a frame becomes the input."""
    thresholds: BundleThresholds
    """Default thresholds."""
    proof: BundleProof | None = None
    """What an engine is proven by before it inspects; null: by the float execution of the model's own file."""
    failed_gates: tuple[str, ...] = ()
    """Gates that the model did not pass, or `not checked yet`; it inspects only with `--allow-failed-gates`."""
    lineage: dict[str, JsonValue] = {}
    """Where the model comes from: parent, data, steps, versions. Free."""
    results: dict[str, JsonValue] = {}
    """What was measured with it. Free."""

    @field_validator("task", mode="before")
    @classmethod
    def _known_task(cls, found: object) -> object:
        if isinstance(found, str) and (problem := task_problem(found)):
            raise ValueError(problem)
        return found

    @model_validator(mode="after")
    def _consistent(self) -> Bundle:
        check_class_names(self.classes)
        if self.head.task is not self.task:
            raise ValueError(f"head: expected one of the task {str(self.task)!r}, found {str(self.head)!r}")
        if any(side % self.stride for shape in self.input_shapes_hw for side in shape):
            raise ValueError(f"input_shapes_hw: sides must be multiples of the stride {self.stride}")
        if not self.model.input.dynamic and len(self.input_shapes_hw) != 1:
            raise ValueError("input_shapes_hw: a model that is not dynamic has exactly one")
        others = (*self.model.forms, *self.model.gpu_variants)
        names = [self.model.variant, *(other.form for other in others)]
        if len(set(names)) != len(names):
            raise ValueError("model.forms, model.gpu_variants: names must differ, and from that of the model's own")
        return self
