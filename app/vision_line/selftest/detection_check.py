# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether the device finds what OpenVINO finds in the same pictures: one to one, box by box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import av
import numpy as np

from vision_line.devices.cpu.device import CpuDevice
from vision_line.devices.cpu.planes import open_planes
from vision_line.devices.cuda.surface import Surface
from vision_line.devices.preprocessing.definition import letterbox_planes
from vision_line.devices.preprocessing.letterbox import Letterbox, in_picture
from vision_line.errors import RunError
from vision_line.frames import Colour, ColourMatrix, ColourRange, Detections, Frame, Inspection
from vision_line.selftest.comparison import MOST_PIXELS, MOST_SCORE, ResultDifference, difference, together
from vision_line.selftest.device_under_test import DeviceUnderTest
from vision_line.selftest.report import CheckOutcome, Measurement, failed, figure, passed, skipped

_RGB = Colour(ColourMatrix.BT601, ColourRange.FULL)  # not looked at: the picture is RGB already


def check_detections(subject: DeviceUnderTest) -> CheckOutcome:
    """Compare the device's detections with those of OpenVINO on the CPU, which gets the same pixels.

    OpenVINO is given the letterboxed picture that the preprocessing definition makes, so that the engines alone are
    compared: the CPU device's own conversion is faster and up to two levels off.
    """
    if subject.gpu is None:
        return skipped("OpenVINO is the reference itself")
    frames = [subject.frame("selftest", number, picture) for number, picture in enumerate(subject.pictures)]
    found = {one.frame.sequence: one.detections for one in _found(subject, frames)}
    wanted = _reference(subject, frames)
    floor = subject.model.score_threshold
    differences = [difference(found[number], wanted[number], floor) for number in range(len(frames))]
    return judged(differences, len(frames))


def judged(differences: Sequence[ResultDifference], pictures: int) -> CheckOutcome:
    """Return the outcome for the differences of so many pictures."""
    whole = together(differences)
    figures = _figures(whole)
    if whole.is_none and whole.pairs:
        return passed(f"{whole.pairs} detections in {pictures} pictures are OpenVINO's", figures)
    if whole.is_none:
        return skipped("neither the device nor OpenVINO finds anything: the pictures show circuit boards")
    return failed(
        f"of {whole.pairs + whole.alone} detections {whole.alone} are of one side alone; boxes differ by up to "
        f"{whole.pixels:.2f} px (most: {MOST_PIXELS:g}), scores by up to {whole.score:.3f} (most: {MOST_SCORE:g})",
        figures,
    )


def _found(subject: DeviceUnderTest, frames: Sequence[Frame]) -> list[Inspection]:
    size = subject.device.description.max_batch
    batches = [frames[start : start + size] for start in range(0, len(frames), size)]
    return [inspection for batch in batches for inspection in subject.inspect(batch)]


def _reference(subject: DeviceUnderTest, frames: Sequence[Frame]) -> list[Detections]:
    """Return what OpenVINO finds in `frames`."""
    reference = replace(subject)
    reference.device = CpuDevice(subject.model, [subject.shape_hw], reference.woken.set)
    try:
        return [_by_openvino(reference, frame) for frame in frames]
    finally:
        reference.device.close()


def _by_openvino(reference: DeviceUnderTest, frame: Frame) -> Detections:
    height, width = reference.shape_hw
    picture = frame.picture.to_host() if isinstance(frame.picture, Surface) else frame.picture
    rgb = letterbox_planes(open_planes(picture), frame.colour, reference.shape_hw)
    letterboxed = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    inspections = reference.inspect([replace(frame, size_wh=(width, height), picture=letterboxed, colour=_RGB)])
    if len(inspections) != 1:
        raise RunError(f"selftest: expected one result of OpenVINO, found {len(inspections)}")
    return in_picture(inspections[0].detections, Letterbox(frame.size_wh, reference.shape_hw))


def _figures(whole: ResultDifference) -> list[Measurement]:
    return [
        figure("detections_paired", "", whole.pairs, "detections"),
        figure("detections_alone", "", whole.alone, "detections"),
        figure("box_largest_difference", "", whole.pixels, "px"),
        figure("score_largest_difference", "", whole.score, "score"),
    ]
