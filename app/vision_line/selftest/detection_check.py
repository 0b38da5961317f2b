# SPDX-License-Identifier: AGPL-3.0-or-later
"""Compares the device's detections with OpenVINO's on the same frames, one to one, box by box."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import av
import numpy as np
from numpy.typing import NDArray

from vision_line.devices.cpu.backend import open_cpu
from vision_line.devices.cpu.planes import open_planes
from vision_line.devices.cuda.surface import Surface
from vision_line.devices.preprocessing.definition import letterbox_planes
from vision_line.devices.preprocessing.letterbox import Letterbox, in_frame
from vision_line.errors import RunError
from vision_line.frames import Colour, ColourMatrix, ColourRange, Detections, Frame, Inspection
from vision_line.selftest.device_under_test import DeviceUnderTest
from vision_line.selftest.report import CheckOutcome, Measurement, failed, figure, passed, skipped

_RGB = Colour(ColourMatrix.BT601, ColourRange.FULL)  # unused: the frame is RGB already

#: Tolerances for the results of the same frame.
MOST_PIXELS, MOST_SCORE = 1.0, 0.02

#: Boxes whose sides are further apart than this are different defects, pixels.
_PAIRED_WITHIN_PX = 8.0


@dataclass(frozen=True, slots=True)
class ResultDifference:
    """Differences of two sets of detections. `unmatched` counts detections that only one of them has."""

    pairs: int = 0
    unmatched: int = 0
    pixels: float = 0.0  # largest distance of a side of two paired boxes
    score: float = 0.0  # largest difference of the scores of a pair

    @property
    def is_none(self) -> bool:
        """Whether it lies within the tolerance."""
        return not self.unmatched and self.pixels <= MOST_PIXELS and self.score <= MOST_SCORE


def difference(some: Detections, others: Detections, floor: float) -> ResultDifference:
    """Return the differences of two sets of detections of one frame.

    Pairs are of one class, the closest first. An unmatched detection within the tolerance of `floor`, the lowest score
    that either side returns, does not count: its partner may lie just below.
    """
    apart = np.abs(some.xyxy[:, None] - others.xyxy[None]).max(axis=2, initial=0.0)  # (n, m)
    apart[some.class_id[:, None] != others.class_id[None]] = np.inf
    pairs: list[tuple[int, int]] = []
    while apart.size and apart.min() <= _PAIRED_WITHIN_PX:
        row, column = divmod(int(apart.argmin()), apart.shape[1])
        pairs.append((row, column))
        apart[row], apart[:, column] = np.inf, np.inf
    rows, columns = np.array(pairs, np.intp).reshape(-1, 2).T
    scores = np.abs(some.score[rows] - others.score[columns])
    sides = np.abs(some.xyxy[rows] - others.xyxy[columns])
    unmatched = _certain_beside(some, rows, floor) + _certain_beside(others, columns, floor)
    return ResultDifference(len(pairs), unmatched, float(sides.max(initial=0.0)), float(scores.max(initial=0.0)))


def together(parts: Iterable[ResultDifference]) -> ResultDifference:
    """Return the combined differences of many frames."""
    return reduce(
        lambda a, b: ResultDifference(
            a.pairs + b.pairs, a.unmatched + b.unmatched, max(a.pixels, b.pixels), max(a.score, b.score)
        ),
        parts,
        ResultDifference(),
    )


def _certain_beside(found: Detections, paired: NDArray[np.intp], floor: float) -> int:
    left = np.delete(found.score, paired)
    return int((left > floor + MOST_SCORE).sum())


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
    native = frame.data.to_host() if isinstance(frame.data, Surface) else frame.data
    rgb = letterbox_planes(open_planes(native), frame.colour, reference.shape_hw)
    letterboxed = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    inspections = reference.inspect([replace(frame, size_wh=(width, height), data=letterboxed, colour=_RGB)])
    if len(inspections) != 1:
        raise RunError(f"selftest: expected one result of OpenVINO, found {len(inspections)}")
    return in_frame(inspections[0].detections, Letterbox(frame.size_wh, reference.shape_hw))


def _figures(whole: ResultDifference) -> list[Measurement]:
    return [
        figure("detections_paired", "", whole.pairs, "detections"),
        figure("detections_alone", "", whole.unmatched, "detections"),
        figure("box_largest_difference", "", whole.pixels, "px"),
        figure("score_largest_difference", "", whole.score, "score"),
    ]
