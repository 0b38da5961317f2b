# SPDX-License-Identifier: AGPL-3.0-or-later
"""The images that a training sees are those that an inspection sees; some are corrupted where that is wanted."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ultralytics.cfg import get_cfg

from vision_line.devices.preprocessing.definition import letterbox_rgb
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line_compression.training.training_images import Corruption, InspectedImages, Pixels, resized

SIDE = 64


def fine(height: int, width: int) -> Pixels:
    """Return an image (h, w, 3) whose finest details are of one pixel."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("size_hw", [(200, 300), (300, 200), (131, 131), (64, 64), (30, 20), (64, 33)])
def test_images_are_resized_as_an_inspection_does(size_hw: tuple[int, int]) -> None:
    """To the very size, and in each pixel to within rounding."""
    image = fine(*size_hw)
    box = Letterbox((size_hw[1], size_hw[0]), (SIDE, SIDE))

    inspected = letterbox_rgb(image, (SIDE, SIDE))[box.content]

    trained = resized(image, SIDE)
    assert trained.shape == inspected.shape
    assert np.abs(trained.astype(int) - inspected).max() <= 1


def test_ultralytics_own_way_would_be_another() -> None:
    """So that the test above says something: a shrunk image is far off, by pixels that are skipped."""
    image = fine(200, 300)
    width, height = Letterbox((300, 200), (SIDE, SIDE)).content_wh

    skipped = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)

    assert np.abs(skipped.astype(int) - resized(image, SIDE)).mean() > 10


@pytest.fixture
def boards(tmp_path: Path) -> dict[str, Any]:
    """Return Ultralytics' description of a data set of six images with a box each."""
    for kind in ("images", "labels"):
        (tmp_path / kind / "train").mkdir(parents=True)
    for number in range(6):
        cv2.imwrite(str(tmp_path / f"images/train/{number}.png"), fine(100, 150))
        (tmp_path / f"labels/train/{number}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    return {"train": str(tmp_path / "images/train"), "names": {0: "dent"}, "nc": 1, "channels": 3}


def opened(boards: dict[str, Any], *, corrupted: float = 0.0, augment: bool = True, cache: str | None = None) -> Any:
    """Return the images as a training opens them, without any augmentation of Ultralytics' own but mosaics."""
    hyp = get_cfg(
        overrides={
            "mosaic": 0.0, "scale": 0.0, "translate": 0.0, "fliplr": 0.0, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0,
            "erasing": 0.0, "imgsz": SIDE,
        }
    )  # fmt: skip
    return InspectedImages(
        boards["train"], imgsz=SIDE, batch_size=2, augment=augment, hyp=hyp, rect=False, cache=cache, stride=32,
        pad=0.0, task="detect", data=boards, corrupted=corrupted,
    )  # fmt: skip


@pytest.mark.parametrize("cache", [None, "ram"])
def test_the_trainer_gets_images_as_inspected(boards: dict[str, Any], cache: str | None) -> None:
    """Kept in memory or not, all of them, as often as they are asked for."""
    images = opened(boards, cache=cache)
    expected = resized(fine(100, 150), SIDE)

    for _ in range(2):
        for number in range(6):
            image, before, after = images.load_image(number)
            assert (before, after) == ((100, 150), (43, SIDE))
            np.testing.assert_array_equal(image, expected)
    kept = sum(image is not None for image in images.ims)
    assert kept == (6 if cache else len(images.buffer)) > 0


def test_a_share_of_the_images_is_corrupted(boards: dict[str, Any]) -> None:
    """Of those that train, also when mosaics have ended; those that validate are as they are."""
    random.seed(0)
    clean, all_corrupted = opened(boards), opened(boards, corrupted=1.0)
    validated = opened(boards, corrupted=1.0, augment=False)

    def pixels(images: Any) -> Pixels:  # of all: blur is nothing on images so small
        return np.stack([np.asarray(images[number]["img"]) for number in range(len(images))])

    before = pixels(clean)
    assert not np.array_equal(pixels(all_corrupted), before)
    all_corrupted.close_mosaic(all_corrupted_settings())
    assert not np.array_equal(pixels(all_corrupted), before)
    np.testing.assert_array_equal(pixels(validated), pixels(opened(boards, augment=False)))


def all_corrupted_settings() -> Any:
    """Return the settings that a trainer hands over when it ends mosaics."""
    return get_cfg(overrides={"scale": 0.0, "translate": 0.0, "fliplr": 0.0, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0})


def test_about_the_share_that_is_wanted() -> None:
    """The boxes stay, the rest of the images is untouched."""
    random.seed(1)
    image = fine(32, 32)
    seen = [Corruption(0.3)({"img": image.copy(), "cls": number}) for number in range(200)]

    changed = sum(not np.array_equal(np.asarray(labels["img"]), image) for labels in seen)

    assert 40 <= changed <= 80
    assert [labels["cls"] for labels in seen] == list(range(200))
