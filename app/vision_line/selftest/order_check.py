# SPDX-License-Identifier: AGPL-3.0-or-later
"""Checks that a busy device does not lose, repeat, swap or reorder results."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vision_line.devices.cuda.proven_engine import TOLERANCE
from vision_line.frames import Detections, Frame, Inspection
from vision_line.selftest.detection_check import difference
from vision_line.selftest.device_under_test import DeviceUnderTest
from vision_line.selftest.report import CheckOutcome, failed, figure, passed

#: A frame, and the number of the image that it shows.
Shown = tuple[Frame, int]


@dataclass(frozen=True, slots=True)
class OrderErrors:
    """Errors in the order of results: numbers of frames."""

    lost: int = 0
    repeated: int = 0
    late: int = 0  # after a younger frame of the same camera
    swapped: int = 0  # with the result of another image

    @property
    def is_none(self) -> bool:
        """Whether there are no errors."""
        return self == OrderErrors()


def check_order(dut: DeviceUnderTest) -> CheckOutcome:
    """Keep all slots full with frames of many cameras, and compare each result with what was submitted.

    Batches of all sizes are mixed. The frames show a few different images, each of which was inspected singly before.
    """
    single = [dut.inspect([dut.frame("alone", 0, image)]) for image in dut.decoded_frames]
    shown = [inspections[0].detections if inspections else Detections.empty() for inspections in single]
    submitted: list[Shown] = []
    found: list[Inspection] = []
    full = 0
    for batch in _batches(dut):
        while not dut.device.free_slots():
            full += 1
            found += dut.next_results()
        dut.device.submit([frame for frame, _ in batch])
        submitted += batch
    found += dut.drained()
    errors = find_order_errors(submitted, found, shown, dut.model.score_threshold)
    figures = [
        figure("frames_submitted", "", len(submitted), "frames"),
        figure("waits_for_a_slot", "", full, "times"),
        *(figure(f"frames_{name}", "", getattr(errors, name), "frames") for name in OrderErrors.__dataclass_fields__),
    ]
    if not errors.is_none:
        return failed(
            f"of {len(submitted)} frames {errors.lost} were lost and {errors.repeated} came twice, {errors.late} "
            f"came after a younger one of their camera, {errors.swapped} with the result of another image",
            figures,
        )
    return passed(f"{len(submitted)} frames of {dut.settings.cameras} cameras: none lost, all in order", figures)


def find_order_errors(
    submitted: Sequence[Shown], found: Sequence[Inspection], shown: Sequence[Detections], floor: float
) -> OrderErrors:
    """Return the errors in the results `found` of the submitted frames.

    Pure. `shown` is the result of each image when it is inspected singly; nothing below `floor` is returned.
    """
    images = {(frame.camera, frame.sequence): image for frame, image in submitted}
    got = Counter((one.frame.camera, one.frame.sequence) for one in found)
    newest: dict[str, int] = defaultdict(lambda: -1)
    late = swapped = 0
    for one in found:
        camera, sequence = one.frame.camera, one.frame.sequence
        late += sequence < newest[camera]
        newest[camera] = max(newest[camera], sequence)
        found_in_it = difference(one.detections, shown[images[camera, sequence]], floor, TOLERANCE)
        swapped += found_in_it.pairs < found_in_it.unmatched  # batches of other sizes may differ in some
    wanted = Counter(images.keys())
    return OrderErrors(lost=(wanted - got).total(), repeated=(got - wanted).total(), late=late, swapped=swapped)


def _batches(dut: DeviceUnderTest) -> Iterator[list[Shown]]:
    """Yield batches of every size that the device takes, with the next frames of all cameras in turn."""
    largest = dut.device.description.max_batch
    number = size = 0
    while number < dut.settings.submitted:
        size = 1 + (size * 5 + largest // 2) % largest  # for powers of two each size once before any comes again
        yield [_frame(dut, number + offset) for offset in range(size)]
        number += size


def _frame(dut: DeviceUnderTest, number: int) -> Shown:
    """Return frame `number` of all cameras; neighbours in a batch and of a camera show different images."""
    sequence, camera = divmod(number, dut.settings.cameras)
    image = (number + 3 * sequence) % len(dut.decoded_frames)
    return dut.frame(f"camera{camera:02d}", sequence, dut.decoded_frames[image]), image
