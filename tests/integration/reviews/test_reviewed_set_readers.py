# SPDX-License-Identifier: AGPL-3.0-or-later
"""Exported sets as their readers see them: the compression's loader, and pycocotools."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.reviewed_records import BOX, SIZE_WH, ReviewedRecords, export, many, reviewed_records

from vision_line_compression.data.data_health import data_warnings
from vision_line_compression.data.dataset import open_dataset


@pytest.fixture
def records(tmp_path: Path) -> Iterator[ReviewedRecords]:
    """Yield the records of one run, without items yet."""
    with reviewed_records(tmp_path / "records") as made:
        yield made


def test_yolo_folders_are_what_the_compression_reads(records: ReviewedRecords, tmp_path: Path) -> None:
    """Classes of the model in its order, boxes to a hundredth of a pixel, background without a label."""
    many(records)
    out = tmp_path / "set"

    done = export(records, out)

    assert done.exit_code == 0, done.output
    splits = {name: open_dataset(out / "data.yaml", name) for name in ("train", "val")}
    assert splits["train"].classes == ("open", "short")
    assert any("val: has no box of short" in warning for warning in data_warnings(splits))  # which is so
    every = [image for split in splits.values() for image in split.images]
    assert len(every) == 21
    assert sum(len(image.xyxy) == 0 for image in every) == 6
    boxes = [image for image in every if len(image.xyxy)]
    assert sorted(int(image.class_id[0]) for image in boxes) == [0] * 14 + [1]
    assert all(image.size_wh == SIZE_WH and abs(image.xyxy[0] - BOX).max() < 0.01 for image in boxes)
    assert 0.2 <= len(splits["val"].images) / 21 < 0.3


def test_coco_is_what_pycocotools_reads(records: ReviewedRecords, tmp_path: Path) -> None:
    """The line's own detections score against the truth: false alarms cost precision, and a wrong class its class."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    many(records)
    out = tmp_path / "set"

    done = export(records, out, "--format=coco")

    assert done.exit_code == 0, done.output
    truth = COCO(str(out / "annotations.json"))
    assert len(truth.getImgIds()) == 21
    assert [truth.cats[number]["name"] for number in truth.getCatIds()] == ["open", "short"]
    assert truth.loadAnns([1])[0]["bbox"] == [8.0, 8.0, 16.0, 12.0]
    assert [image["reason"] for image in truth.loadImgs(truth.getImgIds())][:6] == ["overruled"] * 5 + ["corrected"]
    assert all((out / image["file_name"]).is_file() for image in truth.loadImgs(truth.getImgIds()))
    scored = [one for one in truth.anns.values() if "score" in one]
    assert len(scored) == 14
    measured = COCOeval(truth, truth.loadRes(str(out / "predictions.json")), "bbox")
    measured.params.catIds = [1]
    measured.evaluate()
    measured.accumulate()
    assert measured.eval["recall"][0, 0, 0, -1] == 1.0
    # 14 of 20 detections are right, all with one score: a false one among the first costs precision
    assert 0.5 < measured.eval["precision"][0, :, 0, 0, -1].mean() < 0.9
