# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tiles keep every pixel and every whole box, and no image is in two splits."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from tools import cut_tiles

from vision_line_compression.data.dataset import open_dataset, read_image

SIDE = 40


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """Three images of noise, 100 x 120 pixels; the first two of `train` and `test` are alike.

    The first has a box in its lower right tile, one that lies across an edge, and none else.
    """
    noise = np.random.default_rng(0)
    first, second, third = (noise.integers(0, 255, (100, 120, 3), np.uint8) for _ in range(3))
    for split, images in {"train": [first, second], "test": [first, third]}.items():
        for part in ("images", "labels"):
            (tmp_path / "whole" / part / split).mkdir(parents=True)
        for number, pixels in enumerate(images):
            cv2.imwrite(str(tmp_path / "whole" / "images" / split / f"{number}.png"), pixels)
            boxes = ["1 0.8 0.85 0.1 0.1", "0 0.33 0.2 0.1 0.1"] if pixels is first else []
            (tmp_path / "whole" / "labels" / split / f"{number}.txt").write_text("\n".join(boxes))
    yaml = tmp_path / "whole" / "data.yaml"
    yaml.write_text("train: images/train\ntest: images/test\nnames: [dent, scratch]\n")
    return yaml


def test_tiles_hold_the_pixels_and_the_whole_boxes(whole: Path, tmp_path: Path) -> None:
    """Two rows of three; that with half a box is left out, and the box of another lies where it lay."""
    output = tmp_path / "tiles"

    cut_tiles.cut(whole, output, SIDE, {"test": 9}, {"test": 99})

    tiles = {image.path.stem: image for image in open_dataset(output / "data.yaml", "test").images}
    assert set(tiles) == {f"{n}_{y}_{x}" for n in (0, 1) for y in (0, 60) for x in (0, 40, 80)} - {"0_0_0", "0_0_40"}
    pixels = read_image(open_dataset(whole, "test").images[0])
    boxed = tiles.pop("0_60_80")
    assert np.array_equal(read_image(boxed), pixels[60:100, 80:120])
    assert boxed.class_id.tolist() == [1]
    assert boxed.xyxy[0].tolist() == pytest.approx([10, 20, 22, 30], abs=1e-3)
    assert not any(len(image.xyxy) for image in tiles.values())


def test_no_tile_is_in_two_splits(whole: Path, tmp_path: Path) -> None:
    """What `test` has, `train` has not: its figures would flatter."""
    output = tmp_path / "tiles"

    code = cut_tiles.main([str(whole), str(output), f"--side={SIDE}", "--with-boxes", "train=9", "test=9",
                           "--empty", "train=99", "test=99"])  # fmt: skip

    assert code == 0
    splits = {split: open_dataset(output / "data.yaml", split) for split in ("train", "test")}
    assert splits["train"].classes == ("dent", "scratch")
    assert {image.path.stem[0] for image in splits["train"].images} == {"1"}
    assert {image.path.stem[0] for image in splits["test"].images} == {"0", "1"}


def test_the_same_tiles_are_chosen_again(whole: Path, tmp_path: Path) -> None:
    """By their names: nothing is drawn."""
    for name in ("one", "two"):
        cut_tiles.cut(whole, tmp_path / name, SIDE, {"train": 1}, {"train": 3})

    one, two = (open_dataset(tmp_path / name / "data.yaml", "train") for name in ("one", "two"))
    assert len(one.images) == 4
    assert one.sha256() == two.sha256()
