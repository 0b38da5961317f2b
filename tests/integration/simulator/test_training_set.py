# SPDX-License-Identifier: AGPL-3.0-or-later
"""The training set is valid for any YOLO trainer, reproducible, and its splits share nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import pytest

from vision_line.simulator.defects import KINDS
from vision_line.simulator.labelled_images import write_dataset

IMAGES = 24


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a small set."""
    return write_dataset(tmp_path_factory.mktemp("dataset"), IMAGES, 3).parent


def test_each_image_has_a_label_file(dataset: Path) -> None:
    """All images are there, 640x360, in three splits."""
    images = sorted((dataset / "images").rglob("*.jpg"))

    assert len(images) == IMAGES
    for image in images:
        pixels = cv2.imread(str(image))
        assert pixels is not None
        assert pixels.shape == (360, 640, 3)
        assert (dataset / "labels" / image.parent.name / f"{image.stem}.txt").exists()
    assert {image.parent.name for image in images} == {"train", "val", "test"}


def test_labels_are_shares_of_the_image_and_defects_of_the_stated_size(dataset: Path) -> None:
    """Class, centre and size of each box lie in their ranges, and some defects there are."""
    lines = [line for path in (dataset / "labels").rglob("*.txt") for line in path.read_text().splitlines()]

    assert len(lines) > IMAGES / 2
    for line in lines:
        number, *shares = line.split()
        centre_x, centre_y, width, height = map(float, shares)
        assert int(number) in range(len(KINDS))
        assert -0.000001 <= centre_x - width / 2 < centre_x + width / 2 <= 1.000001
        assert 0 <= centre_y - height / 2 < centre_y + height / 2 <= 1 - 16 / 360
        assert max(width * 640, height * 360) <= 32.75


def test_data_yaml_names_the_classes_in_order(dataset: Path) -> None:
    """A trainer reads the class order from it."""
    text = (dataset / "data.yaml").read_text()

    assert [line.split(": ")[1] for line in text.partition("names:\n")[2].splitlines()] == list(KINDS)


def test_the_same_seed_writes_the_same_files(dataset: Path, tmp_path: Path) -> None:
    """Whatever order the workers finish in."""
    again = write_dataset(tmp_path, IMAGES, 3).parent

    assert digests(again) == digests(dataset)


def test_no_image_is_in_two_splits(dataset: Path) -> None:
    """Splits have seeds of their own."""
    hashes = list(digests(dataset / "images").values())

    assert len(set(hashes)) == len(hashes)


def digests(folder: Path) -> dict[str, str]:
    """Hash images and labels by their relative name."""
    files = (path for path in folder.rglob("*") if path.suffix in (".jpg", ".txt"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
