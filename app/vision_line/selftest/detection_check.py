# SPDX-License-Identifier: AGPL-3.0-or-later
"""Compares the device's detections with OpenVINO's on the same frames, one to one, box by box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import av
import numpy as np

from vision_line.devices.cpu.backend import open_cpu
from vision_line.devices.cpu.planes import open_planes
from vision_line.devices.cuda.surface import Surface
from vision_line.devices.preprocessing.definition import letterbox_planes
from vision_line.devices.preprocessing.letterbox import Letterbox, in_picture
from vision_line.errors import RunError
from vision_line.frames import Colour, ColourMatrix, ColourRange, Detections, Frame, Inspection
from vision_line.selftest.comparison import MOST_PIXELS, MOST_SCORE, ResultDifference, difference, together
from vision_line.selftest.device_under_test import DeviceUnderTest
from vision_line.selftest.report import CheckOutcome, Measurement, failed, figure, passed, skipped

_RGB = Colour(ColourMatrix.BT601, ColourRange.FULL)  # unused: the frame is RGB already


def check_detections(dut: DeviceUnderTest) -> CheckOutcome:
    """Compare the device's detections with those of OpenVINO on the CPU, which gets the same pixels.

    OpenVINO gets the letterboxed frame of the preprocessing definition, so that only the engines are compared: the CPU
    device's own conversion is faster and up to two levels off.
    """
    if dut.gpu is None:
        return skipped("OpenVINO is the reference itself")
    frames = [dut.frame("selftest", number, decoded) for number, decoded in enumerate(dut.decoded_frames)]
    found = {one.frame.sequence: one.detections for one in _found(dut, frames)}
    wanted = _reference(dut, frames)
    floor = dut.model.score_threshold
    differences = [difference(found[number], wanted[number], floor) for number in range(len(frames))]
    return outcome_of(differences, len(frames))


def outcome_of(differences: Sequence[ResultDifference], frames: int) -> CheckOutcome:
    """Return the outcome for the differences of `frames` frames."""
    whole = together(differences)
    figures = _figures(whole)
    if whole.is_none and whole.pairs:
        return passed(f"{whole.pairs} detections in {frames} frames are OpenVINO's", figures)
    if whole.is_none:
        return skipped("neither the device nor OpenVINO detects anything: the frames show circuit boards")
    return failed(
        f"of {whole.pairs + whole.unmatched} detections {whole.unmatched} are unmatched; boxes differ by up to "
        f"{whole.pixels:.2f} px (most: {MOST_PIXELS:g}), scores by up to {whole.score:.3f} (most: {MOST_SCORE:g})",
        figures,
    )


def _found(dut: DeviceUnderTest, frames: Sequence[Frame]) -> list[Inspection]:
    size = dut.device.description.max_batch
    batches = [frames[start : start + size] for start in range(0, len(frames), size)]
    return [inspection for batch in batches for inspection in dut.inspect(batch)]


def _reference(dut: DeviceUnderTest, frames: Sequence[Frame]) -> list[Detections]:
    """Return OpenVINO's detections in `frames`."""
    reference = replace(dut)
    reference.device = open_cpu(dut.model, [dut.shape_hw], reference.woken.set)
    try:
        return [_by_openvino(reference, frame) for frame in frames]
    finally:
        reference.device.close()


def _by_openvino(reference: DeviceUnderTest, frame: Frame) -> Detections:
    height, width = reference.shape_hw
    native = frame.picture.to_host() if isinstance(frame.picture, Surface) else frame.picture
    rgb = letterbox_planes(open_planes(native), frame.colour, reference.shape_hw)
    letterboxed = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    inspections = reference.inspect([replace(frame, size_wh=(width, height), picture=letterboxed, colour=_RGB)])
    if len(inspections) != 1:
        raise RunError(f"selftest: expected one result of OpenVINO, found {len(inspections)}")
    return in_picture(inspections[0].detections, Letterbox(frame.size_wh, reference.shape_hw))


def _figures(whole: ResultDifference) -> list[Measurement]:
    return [
        figure("detections_paired", "", whole.pairs, "detections"),
        figure("detections_alone", "", whole.unmatched, "detections"),
        figure("box_largest_difference", "", whole.pixels, "px"),
        figure("score_largest_difference", "", whole.score, "score"),
    ]
