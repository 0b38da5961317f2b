# SPDX-License-Identifier: AGPL-3.0-or-later
"""Compares the device's detections with those of the model in float on the same frames, one to one, box by box."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import av
import numpy as np
from numpy.typing import NDArray

from vision_line.devices.cpu.backend import open_cpu
from vision_line.devices.cpu.planes import open_planes
from vision_line.devices.cuda.proven_engine import FP16_TOLERANCE, TOLERANCE
from vision_line.devices.cuda.surface import Surface
from vision_line.devices.model.agreement import Tolerance
from vision_line.devices.model.rotated_boxes import boxes_of
from vision_line.devices.model.rotated_boxes import overlaps as rotated_overlaps
from vision_line.devices.preprocessing.definition import letterbox_planes
from vision_line.devices.preprocessing.letterbox import Letterbox, in_frame
from vision_line.errors import RunError
from vision_line.frames import Boxes, Colour, ColourMatrix, ColourRange, Detections, Frame, Inspection
from vision_line.selftest.device_under_test import DeviceUnderTest
from vision_line.selftest.report import CheckOutcome, Measurement, failed, figure, passed, skipped

_RGB = Colour(ColourMatrix.BT601, ColourRange.FULL)  # unused: the frame is RGB already

#: How far boxes may be apart in the median, in pixels of the network's input. What a right INT8 engine does to a box
#: goes either way: 0.05 to 0.11 were measured on a processor. A letterbox that is off by half a pixel moves all alike.
MOST_SHIFT_PX = 0.25
#: The same for a variant that was not quantized, whose boxes are away by the quantization too. An estimate.
MOST_SHIFT_OTHER_VARIANT_PX = 0.5


@dataclass(frozen=True, slots=True)
class ResultDifference:
    """Differences of two sets of detections. `unmatched` counts detections that only one of them has.

    Of each pair `sides` is the largest distance of two sides in the frame's pixels, `scores` that of their scores.
    """

    sides: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    unmatched: int = 0

    @property
    def pairs(self) -> int:
        """How many detections both have."""
        return len(self.scores)

    @property
    def median_side(self) -> float:
        """How far boxes are apart in the median."""
        return float(np.median(self.sides)) if self.sides else 0.0

    def same(self, tolerance: Tolerance) -> int:
        """Return how many pairs have the same score."""
        return sum(score <= tolerance.score for score in self.scores)

    def holds(self, tolerance: Tolerance, most_side: float) -> bool:
        """Whether a right engine may be so far away; as in a bundle's proof one detection is always forgiven."""
        whole, same = self.pairs + self.unmatched, self.same(tolerance)
        is_enough = same >= whole - 1 or same >= tolerance.share * whole
        return is_enough and self.median_side <= most_side


def difference(some: Detections, others: Detections, floor: float, tolerance: Tolerance) -> ResultDifference:
    """Return the differences of two sets of detections of one frame.

    Pairs are of one class and overlap enough, those first that overlap most. An unmatched detection within the
    tolerance of `floor`, the lowest score that either side returns, does not count: its partner may lie just below.
    """
    if some.outlines is None or others.outlines is None:
        overlaps = _overlaps(some.xyxy, others.xyxy)  # (n, m)
    else:
        overlaps = rotated_overlaps(boxes_of(some.outlines), boxes_of(others.outlines))
    overlaps[some.class_id[:, None] != others.class_id[None]] = 0.0
    pairs: list[tuple[int, int]] = []
    while overlaps.size and overlaps.max() >= tolerance.overlap:
        row, column = divmod(int(overlaps.argmax()), overlaps.shape[1])
        pairs.append((row, column))
        overlaps[row], overlaps[:, column] = 0.0, 0.0
    rows, columns = np.array(pairs, np.intp).reshape(-1, 2).T
    scores = np.abs(some.score[rows] - others.score[columns])
    sides = np.abs(some.xyxy[rows] - others.xyxy[columns]).max(axis=1, initial=0.0)
    certain = floor + tolerance.score
    unmatched = _certain_beside(some, rows, certain) + _certain_beside(others, columns, certain)
    return ResultDifference(tuple(map(float, sides)), tuple(map(float, scores)), unmatched)


def together(parts: Iterable[ResultDifference]) -> ResultDifference:
    """Return the combined differences of many frames."""
    return reduce(
        lambda a, b: ResultDifference(a.sides + b.sides, a.scores + b.scores, a.unmatched + b.unmatched),
        parts,
        ResultDifference(),
    )


def _overlaps(some: Boxes, others: Boxes) -> NDArray[np.float64]:
    """Return the intersection over union of each with each, (n, m)."""
    a, b = some[:, None].astype(np.float64), others[None].astype(np.float64)
    common = np.prod(np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None), axis=2)
    whole = np.prod(a[..., 2:] - a[..., :2], axis=2) + np.prod(b[..., 2:] - b[..., :2], axis=2) - common
    overlaps: NDArray[np.float64] = np.divide(common, whole, out=np.zeros_like(common), where=whole > 0)
    return overlaps


def _certain_beside(found: Detections, paired: NDArray[np.intp], certain: float) -> int:
    return int((np.delete(found.score, paired) > certain).sum())


def check_detections(dut: DeviceUnderTest) -> CheckOutcome:
    """Compare the device's detections with those of the model's float execution on the CPU, on the same pixels.

    OpenVINO gets the letterboxed frame of the preprocessing definition, so that only the engines are compared: the CPU
    device's own conversion is faster and up to two levels off. It executes the file in float, as it is written: its
    integers are wrong on some processors, and nothing says that this one's are right.
    """
    if dut.gpu is None:
        return skipped("OpenVINO on this processor is the reference itself")
    is_quantized = dut.device.description.precision == dut.model.precision
    tolerance = TOLERANCE if is_quantized else FP16_TOLERANCE
    most_shift_px = MOST_SHIFT_PX if is_quantized else MOST_SHIFT_OTHER_VARIANT_PX
    frames = [dut.frame("selftest", number, decoded) for number, decoded in enumerate(dut.decoded_frames)]
    found = {one.frame.sequence: one.detections for one in _found(dut, frames)}
    wanted = _reference(dut, frames)
    floor = dut.model.score_threshold
    whole = together(difference(found[number], wanted[number], floor, tolerance) for number in range(len(frames)))
    return outcome_of(whole, tolerance, most_shift_px / Letterbox(dut.size_wh, dut.shape_hw).scale, len(frames))


def outcome_of(whole: ResultDifference, tolerance: Tolerance, most_side: float, frames: int) -> CheckOutcome:
    """Return the outcome for the difference of `frames` frames; `most_side` is in the frames' pixels."""
    figures = _figures(whole)
    if not (whole.pairs or whole.unmatched):
        return skipped("neither the device nor OpenVINO detects anything: the frames show circuit boards")
    if whole.pairs and whole.holds(tolerance, most_side):
        return passed(f"{whole.pairs} detections in {frames} frames are those of the model in float", figures)
    return failed(
        f"of {whole.pairs + whole.unmatched} detections {whole.unmatched} are unmatched and "
        f"{whole.pairs - whole.same(tolerance)} have scores further apart than {tolerance.score:g}; boxes differ by "
        f"{whole.median_side:.2f} px in the median (most: {most_side:.2f})",
        figures,
    )


def _found(dut: DeviceUnderTest, frames: Sequence[Frame]) -> list[Inspection]:
    size = dut.device.description.max_batch
    batches = [frames[start : start + size] for start in range(0, len(frames), size)]
    return [inspection for batch in batches for inspection in dut.inspect(batch)]


def _reference(dut: DeviceUnderTest, frames: Sequence[Frame]) -> list[Detections]:
    """Return OpenVINO's detections in `frames`."""
    device = open_cpu(dut.model, [dut.shape_hw], dut.woken.set, exact=True)
    try:
        return [_by_openvino(replace(dut, opened=device), frame) for frame in frames]
    finally:
        device.close()


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
        figure("box_median_difference", "", whole.median_side, "px"),
        figure("box_largest_difference", "", max(whole.sides, default=0.0), "px"),
        figure("score_largest_difference", "", max(whole.scores, default=0.0), "score"),
    ]
