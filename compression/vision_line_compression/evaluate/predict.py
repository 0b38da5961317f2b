# SPDX-License-Identifier: AGPL-3.0-or-later
"""The detections of a model on a data set, through the very device that inspects cameras.

What computed them is kept with them: the processor's instruction set and the variant that ran. Wrong INT8 is never
measured.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from vision_line.devices.cpu.backend import CpuBackend
from vision_line.devices.device import InferenceDevice
from vision_line.devices.model.model import Model
from vision_line.devices.model.tasks import ModelTask, task_problem
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.devices.preprocessing.shapes import closest_shape
from vision_line.devices.selection import open_device
from vision_line.errors import ConfigError, DeviceError, ModelError
from vision_line.frames import Colour, ColourMatrix, ColourRange, Detections, Frame, Inspection, Outlines
from vision_line.ports import Device, DeviceDescription, ProgressCallback, ShapeHW
from vision_line_compression.data.dataset import Dataset, ImageBGR, LabelledImage, read_image
from vision_line_compression.evaluate.mask_overlaps import MaskOverlaps, MaskReader, in_order
from vision_line_compression.evaluate.results import EvaluationSettings, MeasuredExecution
from vision_line_compression.files import sha256_of

Read = Callable[[int, LabelledImage], ImageBGR]  # (index in the data set, image)

INT8 = "int8"

#: Images of a data set lie in the host's memory.
HOST_DEVICE = "cpu"

#: How long to wait for a result before the device is asked whether its engine still answers.
_PATIENCE_S = 1.0

#: Unused: images are RGB, which needs no matrix.
_COLOUR = Colour(ColourMatrix.BT601, ColourRange.FULL)


@dataclass(frozen=True, slots=True)
class Predictions:
    """The detections of one model, one entry for each image of a data set, and what made them.

    `shapes_hw` are the input shapes that the images were given to. `mask_overlaps` are, of a segmentation model, the
    IoU of the masks of each image's detections with its labelled ones, (d, n).
    """

    model_sha256: str
    shapes_hw: tuple[ShapeHW, ...]
    score_floor: float
    nms_iou: float
    detections: tuple[Detections, ...]
    execution: MeasuredExecution | None = None
    mask_overlaps: tuple[MaskOverlaps, ...] | None = None

    def input_scale(self, size_wh: tuple[int, int]) -> float:
        """Return pixels of the network's input per pixel of an image of this size."""
        return Letterbox(size_wh, closest_shape(size_wh, self.shapes_hw)).scale


def predict(
    model: Model,
    dataset: Dataset,
    shape_hw: ShapeHW | None = None,
    settings: EvaluationSettings | None = None,
    *,
    read: Read | None = None,
    progress: ProgressCallback | None = None,
    float_execution: bool = False,
) -> Predictions:
    """Return what `model` finds in each image of `dataset` from `settings.score_floor` on.

    `shape_hw` is the input shape for all images; None: those that the model was evaluated at or exported with, each
    image at the one that suits it best. Opens the device and closes it again. With `float_execution` an INT8 model that
    this processor does not compute rightly on integers is executed in float, which is slow and means the same.

    Raises:
        ConfigError: the data set has other classes than the model, or an image cannot be read.
        DeviceError: an INT8 model would be executed in float.
        ModelError: a model of rotated boxes or masks, and a data set that was not opened with them.
        ModelError, DeviceError, RunError: as the device raises them.
    """
    task = model.head.task
    if task is not ModelTask.DETECT and any(image.task is not task for image in dataset.images):
        raise ModelError(f"{model.path}: {task_problem(task, [ModelTask.DETECT])}")
    settings = resolve_settings(settings or EvaluationSettings(), model)
    check_classes(model, dataset)
    floor, nms_iou = settings.score_floor, settings.nms_iou or model.nms_iou
    shapes = _shapes_for(model, dataset) if shape_hw is None else (shape_hw,)
    finished, wanted = threading.Event(), replace(model, nms_iou=nms_iou)
    reader: MaskReader | None = None
    device: Device
    if task is ModelTask.SEGMENT:
        reader = MaskReader(wanted, floor, dataset.images)
        device = InferenceDevice(CpuBackend(wanted, finished.set), reader, shapes)
    else:
        device = open_device(HOST_DEVICE, wanted, shapes, finished.set, floor)
    found: list[Detections] = []
    with closing(device):
        if not float_execution:
            require_integer_execution(model, device.description)
        frames = (
            still_frame(index, read_image(image) if read is None else read(index, image))
            for index, image in enumerate(dataset.images)
        )
        for inspection in inspect(device, finished, frames):
            found.append(inspection.detections)
            if progress is not None:
                progress(len(found), len(dataset.images))
    masks = None if reader is None else in_order(reader.overlaps, len(found))
    return Predictions(
        model_sha256=model.sha256,
        shapes_hw=shapes,
        score_floor=floor,
        nms_iou=nms_iou,
        detections=tuple(found),
        execution=execution(device.description),
        mask_overlaps=masks,
    )


def _shapes_for(model: Model, dataset: Dataset) -> tuple[ShapeHW, ...]:
    """Return those of the model's shapes that suit an image of `dataset`; compiling for others would be for nothing."""
    used = {closest_shape(image.size_wh, model.input_shapes_hw) for image in dataset.images}
    return tuple(shape for shape in model.input_shapes_hw if shape in used)


def resolve_settings(settings: EvaluationSettings, model: Model) -> EvaluationSettings:
    """Return `settings` with the model's own thresholds where none are given, and a floor that hides no detection."""
    threshold = model.score_threshold if settings.score_threshold is None else settings.score_threshold
    return settings.model_copy(
        update={
            "score_threshold": threshold,
            "nms_iou": model.nms_iou if settings.nms_iou is None else settings.nms_iou,
            "score_floor": min(settings.score_floor, threshold),
        }
    )


def check_classes(model: Model, dataset: Dataset) -> None:
    """Refuse a data set whose classes are not the model's, in its order.

    Raises:
        ConfigError: they differ.
    """
    if model.classes != dataset.classes:
        raise ConfigError(
            f"{dataset.source}: names: expected {', '.join(model.classes)} as in {model.path}, "
            f"found {', '.join(dataset.classes)}"
        )


def still_frame(index: int, image: ImageBGR) -> Frame:
    """Return an image as a camera's frame number `index`; the pixels are copied once."""
    now = time.monotonic()
    return Frame(
        camera="data set",
        sequence=index,
        size_wh=(image.shape[1], image.shape[0]),
        colour=_COLOUR,
        data=av.VideoFrame.from_ndarray(image, format="bgr24"),
        arrived_s=now,
        arrived_utc=time.time(),
        decoded_s=now,
    )


def inspect(device: Device, finished: threading.Event, frames: Iterable[Frame]) -> Iterator[Inspection]:
    """Yield the inspections of `frames` in their order, with all slots of `device` busy.

    `finished` is what the device's `wake` sets.
    """
    for frame in frames:
        while not device.free_slots():
            yield from _await_results(device, finished)
        device.submit([frame])
        yield from device.collect()
    while device.in_flight():
        yield from _await_results(device, finished)


def _await_results(device: Device, finished: threading.Event) -> list[Inspection]:
    finished.wait(_PATIENCE_S)
    finished.clear()
    return device.collect()


def save_predictions(predictions: Predictions, path: Path) -> None:
    """Write `predictions` as a numpy archive, in one step: readers never see half of it."""
    counts = np.array([len(found) for found in predictions.detections])
    together = predictions.detections or (Detections.empty(),)
    identity = {
        "model_sha256": predictions.model_sha256,
        "shapes_hw": predictions.shapes_hw,
        "score_floor": predictions.score_floor,
        "nms_iou": predictions.nms_iou,
        "execution": None if predictions.execution is None else predictions.execution.model_dump(),
    }
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        np.savez_compressed(
            file,
            allow_pickle=False,
            identity=np.array(json.dumps(identity)),
            counts=counts,
            xyxy=np.concatenate([found.xyxy for found in together]),
            score=np.concatenate([found.score for found in together]),
            class_id=np.concatenate([found.class_id for found in together]),
            **_outlines(together),
            **_masks(predictions),
        )
    part.replace(path)


def _outlines(together: Iterable[Detections]) -> dict[str, Outlines]:
    """Return the column of rotated boxes, where there is one: an image without detections has none."""
    found = [one.outlines for one in together if one.outlines is not None]
    return {"outlines": np.concatenate(found)} if found else {}


def _masks(predictions: Predictions) -> dict[str, NDArray[np.generic]]:
    """Return the overlaps of all images' masks one behind the other, and how many labelled ones each image has."""
    overlaps = predictions.mask_overlaps
    if overlaps is None:
        return {}
    flat = np.concatenate([one.ravel() for one in overlaps]) if overlaps else np.zeros(0, np.float32)
    return {"mask_overlaps": flat, "masks": np.array([one.shape[1] for one in overlaps], np.int64)}


def _loaded_masks(archive: Mapping[str, NDArray[np.generic]]) -> tuple[MaskOverlaps, ...] | None:
    if "mask_overlaps" not in archive:
        return None
    shapes = list(zip(archive["counts"].tolist(), archive["masks"].tolist(), strict=True))
    cuts = np.cumsum([found * true for found, true in shapes])[:-1]
    parts = np.split(archive["mask_overlaps"].astype(np.float32), cuts)
    return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))


def load_predictions(path: Path) -> Predictions:
    """Read what `save_predictions` wrote.

    Raises:
        ConfigError: missing, or another kind of file.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            identity = json.loads(str(archive["identity"]))
            cuts = np.cumsum(archive["counts"])[:-1]
            names = ["xyxy", "score", "class_id", *({"outlines"} & set(archive.files))]
            columns = [np.split(archive[name], cuts) for name in names]
            masks = _loaded_masks(archive)
    except (OSError, ValueError, KeyError) as exc:
        raise ConfigError(f"{path}: no saved predictions: {exc}") from exc
    return Predictions(
        model_sha256=identity["model_sha256"],
        shapes_hw=tuple((height, width) for height, width in identity["shapes_hw"]),
        score_floor=identity["score_floor"],
        nms_iou=identity["nms_iou"],
        detections=tuple(Detections(*rows) for rows in zip(*columns, strict=True)),
        execution=MeasuredExecution.model_validate(made_by) if (made_by := identity.get("execution")) else None,
        mask_overlaps=masks,
    )


def execution(device: DeviceDescription) -> MeasuredExecution:
    """Return what of an open device a figure has to name."""
    return MeasuredExecution(instruction_set=device.instruction_set, form=device.variant, precision=device.precision)


def require_integer_execution(model: Model, device: DeviceDescription) -> None:
    """Let an engine pass that computes an INT8 model on integers; of any other model, let all pass.

    Raises:
        DeviceError: none of its variants is computed rightly on integers here, so that float execution runs instead.
    """
    if why := _why_not(model, device):
        raise DeviceError(f"{model.path}: not measured: {why}")


def why_not_on_integers(model: Model, shape_hw: ShapeHW) -> str:
    """Return why an INT8 model is not computed on integers here; "" where it is, and of any other model.

    Raises:
        ModelError, DeviceError: as the device raises them.
    """
    with closing(open_device(HOST_DEVICE, model, (shape_hw,), lambda: None)) as device:
        return _why_not(model, device.description)


def _why_not(model: Model, device: DeviceDescription) -> str:
    if model.precision != INT8 or device.precision == INT8:
        return ""
    return (
        f"on {device.instruction_set} its INT8 engine is not used, and float execution would be measured instead "
        f"({device.variant_reason})"
    )


def only_variant(model: Model, name: str) -> Model:
    """Return `model` in one of its variants alone.

    Raises:
        ConfigError: it has no variant of this name.
    """
    variant = next((variant for variant in model.variants if variant.name == name), None)
    if variant is None:
        raise ConfigError(
            f"{model.path}: expected a variant among {[variant.name for variant in model.variants]}, found {name!r}"
        )
    sha256 = sha256_of(variant.path)
    return replace(model, path=variant.path, sha256=sha256, variants=(variant,))
