# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a busy device loses, repeats, swaps or reorders results."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vision_line.frames import Detections, Frame, Inspection
from vision_line.selftest.comparison import difference
from vision_line.selftest.device_under_test import DeviceUnderTest
from vision_line.selftest.report import CheckOutcome, failed, figure, passed

#: A frame, and the number of the picture that it shows.
Shown = tuple[Frame, int]


@dataclass(frozen=True, slots=True)
class OrderErrors:
    """What is wrong with results: numbers of frames."""

    lost: int = 0
    repeated: int = 0
    late: int = 0  # after a younger frame of the same camera
    swapped: int = 0  # with what another picture shows

    @property
    def is_none(self) -> bool:
        """Whether all is right."""
        return self == OrderErrors()


def check_order(subject: DeviceUnderTest) -> CheckOutcome:
    """Keep all of the device's slots full with frames of many cameras and hold each result against what was submitted.

    Batches of all sizes are mixed. Pictures are few and different, and what they show was inspected before, one by one.
    """
    alone = [subject.inspect([subject.frame("alone", 0, picture)]) for picture in subject.pictures]
    shown = [inspections[0].detections if inspections else Detections.empty() for inspections in alone]
    submitted: list[Shown] = []
    found: list[Inspection] = []
    full = 0
    for batch in _batches(subject):
        while not subject.device.free_slots():
            full += 1
            found += subject.next_results()
        subject.device.submit([frame for frame, _ in batch])
        submitted += batch
    found += subject.drained()
    disorder = find_disorder(submitted, found, shown, subject.model.score_threshold)
    figures = [
        figure("frames_submitted", "", len(submitted), "frames"),
        figure("waits_for_a_slot", "", full, "times"),
        *(figure(f"frames_{name}", "", getattr(disorder, name), "frames") for name in OrderErrors.__dataclass_fields__),
    ]
    if not disorder.is_none:
        return failed(
            f"of {len(submitted)} frames {disorder.lost} were lost and {disorder.repeated} came twice, {disorder.late} "
            f"came after a younger one of their camera, {disorder.swapped} with another picture's result",
            figures,
        )
    return passed(f"{len(submitted)} frames of {subject.settings.cameras} cameras: none lost, all in order", figures)


def find_disorder(
    submitted: Sequence[Shown], found: Sequence[Inspection], shown: Sequence[Detections], floor: float
) -> OrderErrors:
    """Return what is wrong with the results `found` of the frames that were submitted.

    Pure. `shown` is what each picture gives when it is inspected alone; nothing below `floor` is handed back.
    """
    pictures = {(frame.camera, frame.sequence): picture for frame, picture in submitted}
    got = Counter((one.frame.camera, one.frame.sequence) for one in found)
    newest: dict[str, int] = defaultdict(lambda: -1)
    late = swapped = 0
    for one in found:
        camera, sequence = one.frame.camera, one.frame.sequence
        late += sequence < newest[camera]
        newest[camera] = max(newest[camera], sequence)
        swapped += not difference(one.detections, shown[pictures[camera, sequence]], floor).is_none
    wanted = Counter(pictures.keys())
    return OrderErrors(lost=(wanted - got).total(), repeated=(got - wanted).total(), late=late, swapped=swapped)


def _batches(subject: DeviceUnderTest) -> Iterator[list[Shown]]:
    """Yield batches of every size that the device takes, the next frames of all cameras in turn."""
    largest = subject.device.description.max_batch
    number = size = 0
    while number < subject.settings.submitted:
        size = 1 + (size * 5 + largest // 2) % largest  # for powers of two each size once before any comes again
        yield [_frame(subject, number + offset) for offset in range(size)]
        number += size


def _frame(subject: DeviceUnderTest, number: int) -> Shown:
    """Return frame `number` of all cameras; neighbours in a batch and in a camera show different pictures."""
    sequence, camera = divmod(number, subject.settings.cameras)
    picture = (number + 3 * sequence) % len(subject.pictures)
    return subject.frame(f"camera{camera:02d}", sequence, subject.pictures[picture]), picture
