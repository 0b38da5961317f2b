# SPDX-License-Identifier: AGPL-3.0-or-later
"""No image teaches a model that a defect is none: what is not known of an image keeps it out of a data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.fakes.desk_records import BEGAN_UTC
from tests.fakes.reviewed_records import ReviewedRecords, answer, drawn_image, reviewed_records

from vision_line.records.schema import open_reader
from vision_line.reviews.answer_journal import answers_by_item
from vision_line.reviews.handoff.reviewed_images import LeftOut, ReviewedImages, WantedReviews, read_reviewed_images
from vision_line.reviews.handoff.yolo_set import DATA_YAML, yolo_files
from vision_line.reviews.reviews_file import reading
from vision_line.reviews.settled_answers import SettledItem

OTHER = (40.0, 30.0, 56.0, 44.0)


@pytest.fixture
def records(tmp_path: Path) -> Iterator[ReviewedRecords]:
    """Yield the records of one run, without items yet."""
    with reviewed_records(tmp_path / "records") as made:
        yield made


def images_of(records: ReviewedRecords, **wanted: Any) -> ReviewedImages:
    """Return what a model may learn from."""
    directory = records.records.directory
    with reading(directory) as reviews:
        assert reviews is not None
        items = [SettledItem.of(answers) for _, answers in answers_by_item(reviews)]
    return read_reviewed_images(open_reader(directory), items, WantedReviews(**wanted))


def test_a_confirmed_item_whose_box_was_dropped_is_no_background(records: ReviewedRecords) -> None:
    """There is a defect, and nobody says where it is."""
    answer(records.records.directory, records.event(1, 10, image=drawn_image(1)), boxes=[])

    found = images_of(records)

    assert not found.images
    assert found.left_out == {LeftOut.NO_BOX: 1}


def test_a_box_outside_of_the_image_says_nowhere(records: ReviewedRecords) -> None:
    """A confirmed event whose box the image does not hold is not background either."""
    answer(records.records.directory, records.event(1, 10, image=drawn_image(1), box=(70.0, 8.0, 90.0, 20.0)))

    assert images_of(records).left_out == {LeftOut.NO_BOX: 1}


def test_a_confirmed_event_is_a_defect_beside_an_overruled_one(records: ReviewedRecords) -> None:
    """Also where the boxes of both overlap: what was said of an event itself comes first."""
    directory = records.records.directory
    answer(directory, records.event(1, 10, image=drawn_image(1)), "overruled")
    records.detection(1, 10, "cam", "short", 0.9, (9.0, 9.0, 25.0, 21.0), "event 2")
    short: dict[str, Any] = {"class": "short"}
    answer(directory, records.event(2, 12, **short), call_class="short")

    (image,) = images_of(records).images

    assert [one.class_name for one in image.defects] == ["short"]


def test_images_whose_detections_were_removed_wait(records: ReviewedRecords) -> None:
    """Detections go before events: then nobody knows what else was found. An audited frame is known as a whole."""
    directory = records.records.directory
    answer(directory, records.event(1, 10, image=drawn_image(1)))
    answer(directory, records.event(2, 50, image=drawn_image(2)))
    answer(directory, records.audit(3, 12, image=drawn_image(3)), boxes=[])
    records.detection(1, 10, "cam", "short", 0.9, OTHER, "event 99")
    records.records.connection.execute("DELETE FROM detections WHERE sequence = 1")
    removed = {"removed_from": "detections", "rows": 2, "why": "max_mb", "at_utc": BEGAN_UTC + 60}
    records.records.insert("removals", **removed, from_utc=BEGAN_UTC + 10, to_utc=BEGAN_UTC + 10)

    for keep_unreviewed in (False, True):
        found = images_of(records, keep_unreviewed=keep_unreviewed)
        assert [image.frame.sequence for image in found.images] == [2, 3]
        assert found.left_out == {LeftOut.REMOVED: 1}


def test_an_event_too_faint_for_a_detection_keeps_its_image_open(records: ReviewedRecords) -> None:
    """It goes on through the frame, with a score below the threshold; once it is overruled, nothing is there."""
    directory = records.records.directory
    answer(directory, records.event(5, 10, image=drawn_image(5)))
    other = records.event(3, 9, first_sequence=3, last_sequence=9)

    assert images_of(records).left_out == {LeftOut.OPEN: 1}
    answer(directory, other, "overruled")
    assert len(images_of(records).images) == 1


def test_any_class_name_is_read_back_from_yaml() -> None:
    """Signs that YAML has a meaning for, that it forbids, and that UTF-16 has no single unit for."""
    names = ["a: b", "yes", "null", '"q"', "- x", "\x7f\x85\u2028", "../x", "line\nbreak", "\U0001f600 dent"]

    assert yaml.safe_load(yolo_files([], names)[DATA_YAML])["names"] == dict(enumerate(names))
