# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reviewed images as data sets: what is true of each image, what is left out and why, and the formats' own readers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.reviewed_records import (
    BOX,
    SIZE_WH,
    ReviewedRecords,
    answer,
    drawn_image,
    export,
    many,
    reviewed_records,
)

from vision_line.records.schema import open_reader
from vision_line.reviews.answer import ItemKey, ItemKind
from vision_line.reviews.answer_journal import answers_by_item
from vision_line.reviews.handoff.reviewed_image import PixelBox, Reason, ReviewedImage, StoredFrame
from vision_line.reviews.handoff.reviewed_images import LeftOut, ReviewedImages, WantedReviews, read_reviewed_images
from vision_line.reviews.handoff.train_split import APART_S, BLOCK_S, Split, split_images
from vision_line.reviews.reviews_file import reading
from vision_line.reviews.settled_answers import SettledItem

OTHER = (40.0, 30.0, 56.0, 44.0)


@pytest.fixture
def records(tmp_path: Path) -> Iterator[ReviewedRecords]:
    """Yield the records of one run, without items yet."""
    with reviewed_records(tmp_path / "records") as made:
        yield made


@pytest.fixture
def say(records: ReviewedRecords) -> Callable[..., None]:
    """Return what enters an answer."""
    return lambda item, verdict="confirmed", **other: answer(records.records.directory, item, verdict, **other)


def images_of(records: ReviewedRecords, **wanted: Any) -> ReviewedImages:
    """Return what a model may learn from."""
    directory = records.records.directory
    with reading(directory) as reviews:
        assert reviews is not None
        items = [SettledItem.of(answers) for _, answers in answers_by_item(reviews)]
    return read_reviewed_images(open_reader(directory), items, WantedReviews(**wanted))


def defects(image: ReviewedImage) -> list[tuple[str, tuple[float, ...], float | None]]:
    return [(one.class_name, one.box.edges, one.score) for one in image.defects]


def test_a_confirmed_event_is_a_defect_where_the_line_found_it(records: ReviewedRecords, say: Any) -> None:
    """With its score; another class or box is what the person said, and an overruled one is background."""
    say(records.event(1, 10, image=drawn_image(1)))
    say(records.event(2, 20, image=drawn_image(2)), class_name="short")
    say(records.event(3, 30, image=drawn_image(3)), boxes=[("open", 9.0, 9.0, 25.0, 21.0)])
    say(records.event(4, 40, image=drawn_image(4)), "overruled")

    found = images_of(records)

    assert [(image.reason, defects(image)) for image in found.images] == [
        (Reason.OVERRULED, []),
        (Reason.CORRECTED, [("short", BOX, None)]),
        (Reason.CORRECTED, [("open", (9.0, 9.0, 25.0, 21.0), 0.8)]),
        (Reason.CONFIRMED, [("open", BOX, 0.8)]),
    ]
    assert not +found.left_out  # type: ignore[operator]


def test_near_misses_and_audits_show_what_was_missed(records: ReviewedRecords, say: Any) -> None:
    """What lies where nothing was found comes first; a clean frame is background too."""
    say(records.near_miss(1, 10, image=drawn_image(1)))
    say(records.near_miss(2, 20, image=drawn_image(2)), "overruled")
    say(records.audit(3, 30, image=drawn_image(3)), "overruled", boxes=[("short", *OTHER)])
    say(records.audit(4, 40, image=drawn_image(4)), boxes=[])
    say(records.audit(5, 50, image=drawn_image(5), found=[("open", 0.7, BOX)]))
    say(records.audit(6, 60, image=drawn_image(6), found=[("open", 0.7, BOX)]), "overruled", boxes=[])

    assert [(image.reason, defects(image)) for image in images_of(records).images] == [
        (Reason.MISSED, [("open", BOX, 0.6)]),
        (Reason.MISSED, [("short", OTHER, None)]),
        (Reason.OVERRULED, []),
        (Reason.CONFIRMED, [("open", BOX, 0.7)]),
        (Reason.CLEAN, []),
        (Reason.CLEAN, []),
    ]


def test_an_image_with_something_unreviewed_waits(records: ReviewedRecords, say: Any) -> None:
    """Not marked, it would be taught to be no defect; it may be believed, and is marked so then."""
    say(records.event(1, 10, image=drawn_image(1)))
    records.detection(1, 10, "cam", "short", 0.9, OTHER, "event 99")

    assert images_of(records).left_out == {LeftOut.OPEN: 1}
    (image,) = images_of(records, keep_unreviewed=True).images
    assert [(one.class_name, one.is_reviewed) for one in image.defects] == [("open", True), ("short", False)]


@pytest.mark.parametrize(("verdict", "expected"), [("confirmed", ["open", "open"]), ("overruled", ["open"])])
def test_what_else_an_image_shows_is_settled_by_its_own_event(
    records: ReviewedRecords, say: Any, verdict: str, expected: list[str]
) -> None:
    """Also where that event's image is another frame."""
    say(records.event(1, 10, image=drawn_image(1)))
    records.detection(1, 10, "cam", "open", 0.9, OTHER, "event 2")
    say(records.event(2, 12), verdict)

    (image,) = images_of(records).images

    assert [one.class_name for one in image.defects] == expected
    assert image.tracks == {"event 1", "event 2"}


def test_an_audited_frame_is_settled_as_a_whole(records: ReviewedRecords, say: Any) -> None:
    """Its answer says what all of its defects are, whatever else was found."""
    records.detection(1, 10, "cam", "open", 0.9, BOX)
    say(records.audit(1, 10, image=drawn_image(1), found=[("open", 0.9, BOX)]), "overruled", boxes=[("short", *OTHER)])

    (image,) = images_of(records).images

    assert defects(image) == [("short", OTHER, None)]


def test_what_is_left_out_is_counted(records: ReviewedRecords, say: Any) -> None:
    """Unsure, disputed, without an image, without a box, gone."""
    say(records.event(1, 10, image=drawn_image(1)), "unsure")
    disputed = records.event(2, 20, image=drawn_image(2))
    say(disputed)
    say(disputed, "overruled", by="ben")
    say(records.near_miss(3, 30))
    say(records.audit(4, 40, image=drawn_image(4)), "overruled")
    gone = records.event(5, 50, image=drawn_image(5))
    say(gone)
    records.records.connection.execute("DELETE FROM events WHERE event_id = 'event 5'")

    found = images_of(records)

    assert not found.images
    assert found.left_out == {
        LeftOut.UNSURE: 1,
        LeftOut.DISPUTED: 1,
        LeftOut.NO_IMAGE: 1,
        LeftOut.NO_BOX: 1,
        LeftOut.NO_ROW: 1,
    }


def test_two_people_who_agree_are_one_answer(records: ReviewedRecords, say: Any) -> None:
    """Also once one of them has changed their mind."""
    item = records.event(1, 10, image=drawn_image(1))
    say(item)
    say(item, "overruled", by="ben")
    say(item, by="ben")

    assert len(images_of(records).images) == 1


def test_time_and_reasons_are_chosen(records: ReviewedRecords, say: Any) -> None:
    """Missed and overruled alone, or of a shift."""
    for n, verdict in enumerate(("confirmed", "overruled", "confirmed"), 1):
        say(records.event(n, 10.0 * n, image=drawn_image(n)), verdict)
    first = records.records.connection.execute("SELECT min(first_seen_utc) FROM events").fetchone()[0]

    assert [image.reason for image in images_of(records, reasons=frozenset({Reason.OVERRULED})).images] == ["overruled"]
    assert len(images_of(records, since_utc=first + 5, until_utc=first + 15).images) == 1


def test_label_studio_tasks_have_the_fields_of_its_schema(records: ReviewedRecords, say: Any, tmp_path: Path) -> None:
    """Boxes in percent, predictions apart from annotations, and a labelling interface with the classes."""
    say(records.event(1, 10, image=drawn_image(1)), boxes=[("short", 32.0, 24.0, 48.0, 36.0)])
    out = tmp_path / "line 3"

    done = export(records, out, "--format=label-studio")

    assert done.exit_code == 0, done.output
    (task,) = json.loads((out / "tasks.json").read_text())
    served = task["data"]["image"].removeprefix("/data/local-files/?d=line%203/")
    assert (out / served).is_file()
    (result,) = task["annotations"][0]["result"]
    assert result["value"] == {
        "x": 50.0,
        "y": 50.0,
        "width": 25.0,
        "height": 25.0,
        "rotation": 0,
        "rectanglelabels": ["short"],
    }
    assert (result["type"], result["original_width"], result["image_rotation"]) == ("rectanglelabels", *SIZE_WH[:1], 0)
    (prediction,) = task["predictions"]
    assert prediction["score"] == prediction["result"][0]["score"] == 0.8
    assert prediction["result"][0]["value"]["x"] == 12.5
    config = (out / "label_config.xml").read_text()
    assert f'name="{result["from_name"]}" toName="{result["to_name"]}"' in config
    assert '<Label value="short"/>' in config


@pytest.mark.parametrize("file_format", ["yolo", "coco", "label-studio"])
def test_the_same_answers_give_the_same_bytes(
    records: ReviewedRecords, say: Any, tmp_path: Path, file_format: str
) -> None:
    """Whenever it is exported; a person who changes an answer changes that image, and the card's head."""
    many(records, 8)

    def content(name: str) -> dict[str, bytes]:
        out = tmp_path / name / "set"
        out.parent.mkdir()
        assert export(records, out, f"--format={file_format}").exit_code == 0
        return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}

    first, again = content("first"), content("again")
    assert first == again
    say(ItemKey(ItemKind.EVENT, records.run_id, "event 4"))
    changed = content("changed")
    assert first.keys() == changed.keys()
    differing = {name for name in first if first[name] != changed[name]}
    assert "README.md" in differing
    assert not [name for name in differing if name.startswith("images/")]
    if file_format == "yolo":
        assert len(differing) == 2


def test_the_card_says_what_the_set_is_and_is_not(records: ReviewedRecords, say: Any, tmp_path: Path) -> None:
    """Reviewers, sampling, counts, what was left out and why, the journal's head."""
    say(records.event(1, 10, image=drawn_image(1)), stratum="rejects", inclusion=0.25)
    say(records.event(2, 20, image=drawn_image(2)), "unsure", by="ben", stratum="rejects", inclusion=0.5)
    other = records.records.run(40_000, 50_000, "cam")
    records.records.connection.execute("UPDATE runs SET model_sha256 = ? WHERE run = ?", ("2" * 64, other))
    out = tmp_path / "set"

    done = export(records, out, "--format=coco")

    assert done.exit_code == 0, done.output
    assert "left out: 1: the reviewer was not sure" in done.output
    card = (out / "README.md").read_text()
    assert "anna (1), ben (1)" in card
    assert "| rejects | 2 | 0.25 to 0.5 |" in card
    assert "| 1 | the reviewer was not sure |" in card
    assert "Not a picture of production" in card
    assert f"`{'1' * 64}`" in card
    assert f"`{'2' * 64}`" not in card  # it inspected none of these images


def test_images_come_from_the_records_alone(records: ReviewedRecords, say: Any, tmp_path: Path) -> None:
    """A row that names another file, or a file that was changed, is left out."""
    directory = records.records.directory
    (tmp_path / "secret.jpg").write_bytes(drawn_image(9))
    for n in (1, 2, 3):
        say(records.event(n, 10.0 * n, image=drawn_image(n)))
    (directory / "evidence/2026-11-28/cam/1.jpg").write_bytes(drawn_image(8))
    records.records.connection.execute(
        "UPDATE evidence SET path = 'evidence/../../secret.jpg' WHERE event_id = 'event 2'"
    )
    out = tmp_path / "set"

    done = export(records, out, "--format=coco")

    assert done.exit_code == 0, done.output
    assert "left out: 2: the file is not the one that was recorded" in done.output
    assert len(list((out / "images").iterdir())) == 1


def test_an_output_that_holds_something_is_refused(records: ReviewedRecords, say: Any, tmp_path: Path) -> None:
    """Nothing is written, and nothing stays behind where there is no image."""
    out = tmp_path / "set"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert export(records, out).exit_code == 2
    say(records.event(1, 10, image=drawn_image(1)), "unsure")

    refused = export(records, out)
    nothing = export(records, tmp_path / "new")
    inside = export(records, records.records.directory / "evidence" / "set")

    assert (refused.exit_code, nothing.exit_code, inside.exit_code) == (2, 2, 2)
    assert "has files in it" in refused.output
    assert "there is no image to export: 1: the reviewer was not sure" in nothing.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["records", "set"]


def test_unknown_reasons_are_refused(records: ReviewedRecords, tmp_path: Path) -> None:
    """With those that there are."""
    done = export(records, tmp_path / "set", "--only=missed,wrong")

    assert done.exit_code == 2
    assert "expected missed, overruled, corrected, confirmed, clean, found 'wrong'" in done.output


def drawn(at_utc: float, camera: str = "cam", *tracks: str) -> ReviewedImage:
    """Return an image without content."""
    frame = StoredFrame(
        run=1,
        run_id="run",
        camera=camera,
        station="",
        sequence=int(at_utc),
        at_utc=at_utc,
        width=9,
        height=9,
        path="a.jpg",
        sha256="",
        folder="evidence",
        model_sha256="",
    )
    return ReviewedImage(frame=frame, reason=Reason.CLEAN, items=(), defects=(), found=(), tracks=frozenset(tracks))


def test_no_part_and_no_track_is_in_both_splits() -> None:
    """Of all cameras, every 7 s for 5 hours; long tracks that cross blocks as well."""
    images = [
        drawn(at_utc, camera, f"{camera} {int(at_utc) // 900}")
        for at_utc in map(float, range(0, 18_000, 7))
        for camera in ("one", "two")
    ]

    sides = split_images(images)

    by_side = {side: [image for image, own in zip(images, sides, strict=True) if own is side] for side in Split}
    train, val = by_side[Split.TRAIN], by_side[Split.VAL]
    times = sorted({image.frame.at_utc for image in train})
    assert all(min(abs(image.frame.at_utc - one) for one in times) > APART_S for image in val)
    assert not {track for image in train for track in image.tracks} & {track for image in val for track in image.tracks}
    assert len(train) > 0.6 * len(images)


def test_a_fifth_validates_and_a_single_block_never() -> None:
    """Blocks go as a whole, the same ones whenever it is asked."""
    spread = split_images([drawn(BLOCK_S * n + 300) for n in range(100)])
    single = split_images([drawn(n) for n in range(100)])

    assert spread.count(Split.VAL) == 20
    assert set(single) == {Split.TRAIN}


def test_boxes_are_cut_to_the_image() -> None:
    """What lies outside of it is none."""
    assert PixelBox(-5, -5, 5, 5).within(9, 9) == PixelBox(0, 0, 5, 5)
    assert PixelBox(9, 0, 12, 5).within(9, 9) is None


#: In the upright box (8, 8, 24, 20).
OUTLINE = (12.0, 8.0, 24.0, 14.0, 20.0, 20.0, 8.0, 14.0)


@pytest.fixture
def turned(records: ReviewedRecords, say: Any) -> ReviewedRecords:
    """Two events whose boxes are rotated; of the second a person drew another box, and left its own as it was."""
    say(records.event(1, 10, image=drawn_image(1), box=(8.0, 8.0, 24.0, 20.0)))
    drawn = [("open", 8.0, 8.0, 24.0, 20.0), ("short", *OTHER)]
    say(records.event(2, 20, image=drawn_image(2), box=(8.0, 8.0, 24.0, 20.0)), boxes=drawn)
    for table in ("events", "detections"):
        records.records.connection.execute(f"UPDATE {table} SET outline = ?", (json.dumps(OUTLINE),))
    return records


def test_a_rotated_box_stays_so_where_nobody_moved_it(turned: ReviewedRecords) -> None:
    """Else a model of rotated boxes would learn the upright ones around them; what a person drew is upright."""
    corrected, confirmed = images_of(turned).images

    assert [one.box.outline for one in confirmed.defects] == [OUTLINE]
    assert {one.class_name: one.box.outline for one in corrected.defects} == {"open": OUTLINE, "short": None}


def test_yolo_obb_has_four_corners_of_each_box(turned: ReviewedRecords, tmp_path: Path) -> None:
    """In shares of the image, of an upright box too; those outside it lie at its edge."""
    outside = (-4.0, 8.0, 24.0, 14.0, 20.0, 20.0, 8.0, 14.0)
    turned.records.connection.execute("UPDATE detections SET outline = ? WHERE sequence = 1", (json.dumps(outside),))
    done = export(turned, tmp_path / "set", "--format=yolo-obb")

    assert done.exit_code == 0, done.output
    lines = "".join(path.read_text() for path in sorted((tmp_path / "set/labels").rglob("*.txt"))).splitlines()
    rows = {tuple(float(word) for word in line.split()) for line in lines}
    width, height = SIZE_WH
    expected = [
        (0, (0.0, *outside[1:])),
        (0, OUTLINE),
        (1, (40.0, 30.0, 56.0, 30.0, 56.0, 44.0, 40.0, 44.0)),
    ]
    shares = {(n, *(round(v / (width, height)[at % 2], 6) for at, v in enumerate(box))) for n, box in expected}
    assert rows == shares


@pytest.mark.parametrize(
    ("file_format", "words"), [("yolo-obb", "a rotated box"), ("yolo-seg", "a mask"), ("yolo", "")]
)
def test_the_card_counts_rectangles_that_stand_for_outlines(
    turned: ReviewedRecords, tmp_path: Path, file_format: str, words: str
) -> None:
    """A model would learn them as shapes; where labels are upright boxes there is nothing to say."""
    assert export(turned, tmp_path / "set", f"--format={file_format}").exit_code == 0

    card = (tmp_path / "set/README.md").read_text()
    said = f"1 of the 3 defects have an upright rectangle instead of the outline of {words}: somebody drew it"
    assert (said in card) == bool(words)
    assert ("upright" in card) == bool(words)


def test_other_sets_turn_boxes_in_their_own_way(turned: ReviewedRecords, tmp_path: Path) -> None:
    """COCO by a polygon; Label Studio by an angle around the first corner."""
    for file_format in ("coco", "label-studio"):
        assert export(turned, tmp_path / file_format, f"--format={file_format}").exit_code == 0
    annotations = json.loads((tmp_path / "coco/annotations.json").read_text())["annotations"]
    tasks = json.loads((tmp_path / "label-studio/tasks.json").read_text())
    value = tasks[-1]["annotations"][0]["result"][0]["value"]

    polygons = [one["segmentation"] for one in annotations]
    assert sorted(polygons, key=len) == [[], [list(OUTLINE)], [list(OUTLINE)]]
    assert {one["area"] for one in annotations if one["segmentation"]} == {96.0}
    side = (12**2 + 6**2) ** 0.5
    assert value["x"] / 100 * SIZE_WH[0] == pytest.approx(12, abs=1e-3)
    assert value["y"] / 100 * SIZE_WH[1] == pytest.approx(8, abs=1e-3)
    assert value["width"] / 100 * SIZE_WH[0] == pytest.approx(side, abs=1e-3)
    assert value["height"] / 100 * SIZE_WH[1] == pytest.approx((4**2 + 6**2) ** 0.5, abs=1e-3)
    assert value["rotation"] == pytest.approx(26.5651, abs=1e-3)


def test_scratches_side_by_side_are_two_defects(records: ReviewedRecords, say: Any) -> None:
    """The upright boxes around them are nearly the same: a model that learns of one is taught to miss the other."""
    along = (10.0, 8.0, 40.0, 38.0, 38.0, 40.0, 8.0, 10.0)
    beside = tuple(value + 6.0 * (n % 2 == 0) for n, value in enumerate(along))
    image = drawn_image(1)
    say(records.event(1, 10, frame=1, image=image, box=(8.0, 8.0, 40.0, 40.0)))
    say(records.event(2, 10, frame=1, image=image, box=(14.0, 8.0, 46.0, 40.0)))
    for number, outline in ((1, along), (2, beside)):
        for table in ("events", "detections"):
            sql = f"UPDATE {table} SET outline = ? WHERE event_id = ?"
            records.records.connection.execute(sql, (json.dumps(outline), f"event {number}"))

    (found,) = images_of(records).images

    assert {one.box.outline for one in found.defects} == {along, beside}
