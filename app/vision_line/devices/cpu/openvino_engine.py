# SPDX-License-Identifier: AGPL-3.0-or-later
"""OpenVINO on this computer's processor: a model's file compiled for one input shape, and executed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
from openvino.preprocess import PrePostProcessor

from vision_line.devices.model.heads import HeadKind, HeadOutput, SegmentOutput
from vision_line.devices.model.masks import COEFFICIENTS, MASK_STRIDE
from vision_line.devices.model.model import Model
from vision_line.devices.model.proof import Images
from vision_line.devices.model.tasks import ModelTask
from vision_line.devices.preprocessing.definition import SCALE
from vision_line.devices.result_reader import FrameOutput, Outputs
from vision_line.errors import DeviceError, ModelError, RunError
from vision_line.ports import ShapeHW


class OpenVino:
    """Compiles the files of models for the CPU, each network with the same number of streams."""

    def __init__(self, cores: int) -> None:
        """Use `cores` cores for inference, a stream on each."""
        self._core = ov.Core()
        self._config: dict[str, str | int | bool] = {
            "NUM_STREAMS": cores,
            "INFERENCE_NUM_THREADS": cores,
            # pinned threads wait for their core while a decoding thread has it, though another is free
            "ENABLE_CPU_PINNING": False,
        }

    @property
    def processor(self) -> str:
        """Return the processor's name, as the processor gives it."""
        return str(self._core.get_property("CPU", "FULL_DEVICE_NAME")).strip()

    def compiled(
        self, model: Model, path: Path, shape: ShapeHW, *, low_precision: bool, precision: str = "f32"
    ) -> ov.CompiledModel:
        """Return `path`, a file of `model`, compiled for inputs (1, h, w, 3), the layout that convolutions work in.

        `low_precision` lets Q/DQ pairs be executed on integers; else they are executed in float, as they are written,
        by one stream: of two that are not pinned OpenVINO 2026.4 gives wrong weights to every other engine then.
        `precision` is that of the float layers, "f32" or "bf16".

        Raises:
            ModelError: OpenVINO cannot read the file or reshape it to `shape`, or its output is of another kind than
                the model's description says.
            DeviceError: OpenVINO cannot compile it for this processor.
        """
        if not model.dynamic and shape not in model.input_shapes_hw:
            raise ModelError(f"{path}: exported for {model.input_shapes_hw[0]} (h, w) only, found {shape}")
        content = model.content(path)
        try:
            network = self._core.read_model(content, b"")
            network.reshape({model.input_name: ov.PartialShape([1, 3, *shape])})
        except RuntimeError as exc:
            raise ModelError(f"{path}: OpenVINO cannot use it at {shape} (h, w): {last_line(exc)}") from exc
        _check_output(model, path, network, shape)
        try:
            return self._core.compile_model(
                _with_interleaved_input(network), "CPU", self._config | _execution(model, low_precision, precision)
            )
        except RuntimeError as exc:
            raise DeviceError(
                f"cpu: OpenVINO cannot compile {path} at {shape} (h, w): {last_line(exc)}{_remedy(model)}"
            ) from exc


def _remedy(model: Model) -> str:
    """Return what to do about a model of a kind that OpenVINO 2026.4 does not compile, as an end of a sentence."""
    if model.head in (HeadKind.END2END_OBB, HeadKind.END2END_SEG):
        return "; export it with nms=None (the default), which leaves it to vision-line to choose among the detections"
    return ""


def outputs_of(request: ov.InferRequest, *, segments: bool) -> Outputs:
    """Return what a request has put out for its one frame, in its own memory; `segments`: of a segmentation model."""
    first = request.get_output_tensor(0).data
    return [SegmentOutput(first[0], request.get_output_tensor(1).data[0])] if segments else first


def run_images(network: ov.CompiledModel, images: Images) -> list[HeadOutput]:
    """Return the output of `network` for each of `images` (n, h, w, 3), n of them for each of its streams.

    All streams work at the same time, as they do in a run: each has a graph of its own, which may be wrong alone.

    Raises:
        RunError: the engine failed.
    """
    requests = [network.create_infer_request() for _ in range(int(network.get_property("NUM_STREAMS")))]
    outputs: list[list[HeadOutput]] = [[] for _ in requests]
    segments = len(network.outputs) > 1
    for image in images:
        try:
            for request in requests:
                request.start_async([image[None] * SCALE])
            for request, own in zip(requests, outputs, strict=True):
                request.wait()
                own.append(_copied(outputs_of(request, segments=segments)[0]))
        except RuntimeError as exc:
            raise RunError(f"cpu: the engine failed: {last_line(exc)}") from exc
    return [output for own in outputs for output in own]


def _copied(output: FrameOutput) -> HeadOutput:
    if isinstance(output, SegmentOutput):
        return SegmentOutput(*(np.array(part, np.float32) for part in output))
    return np.array(output, np.float32)


def float_outputs(model: Model, path: Path, images: Images) -> list[HeadOutput]:
    """Return what the file `path` of `model` gives for `images` (n, h, w, 3) when it is executed in float32.

    Raises:
        ModelError, DeviceError, RunError: as `OpenVino.compiled` and `run_images`.
    """
    shape = (images.shape[1], images.shape[2])
    return run_images(OpenVino(1).compiled(model, path, shape, low_precision=False), images)


def last_line(exc: Exception) -> str:
    """Return what OpenVINO says went wrong: its messages begin with the places in its own source."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[-1] if lines else type(exc).__name__


def _execution(model: Model, low_precision: bool, precision: str) -> dict[str, str | int | bool]:
    mode: dict[str, str | int | bool] = {} if low_precision else {"LP_TRANSFORMS_MODE": "NO"}
    if model.precision == "int8" and not low_precision:
        mode["NUM_STREAMS"] = 1
    return {"INFERENCE_PRECISION_HINT": precision, **mode}


def _with_interleaved_input(network: ov.Model) -> ov.Model:
    """Return the network with an input (1, h, w, 3) of float32, whatever its file's is."""
    steps = PrePostProcessor(network)
    steps.input().tensor().set_layout(ov.Layout("NHWC")).set_element_type(ov.Type.f32)
    steps.input().model().set_layout(ov.Layout("NCHW"))
    return steps.build()


def _check_output(model: Model, path: Path, network: ov.Model, shape_hw: ShapeHW) -> None:
    """Refuse an output that the head's decoder would misread; a dynamic file does not state its sizes before."""
    sizes = _sizes(network.output(0))
    axis, size = 2 if model.head.is_end2end else 1, model.head.rows(len(model.classes))
    if len(sizes) != 3 or sizes[axis] != size:
        shape = network.output(0).get_partial_shape()
        raise ModelError(f"{path}: expected axis {axis} of its output to be {size} for {model.head}, found {shape}")
    if model.head.task is ModelTask.SEGMENT:
        wanted = [COEFFICIENTS, *(side // MASK_STRIDE for side in shape_hw)]
        if len(network.outputs) != 2 or _sizes(network.output(1))[1:] != wanted:
            found = [str(output.get_partial_shape()) for output in network.outputs[1:]]
            raise ModelError(f"{path}: expected a second output (1, {', '.join(map(str, wanted))}), found {found}")


def _sizes(output: ov.Output) -> list[int | None]:
    shape = output.get_partial_shape()
    return [dim.get_length() if dim.is_static else None for dim in shape] if shape.rank.is_static else []
