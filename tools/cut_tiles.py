# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cut small images out of a labelled data set at full resolution, for trainings that have to be short.

    python -m tools.cut_tiles deeppcb/data.yaml tiles --side 128 --with-boxes train=600 val=150 test=700

Tiles lie on a grid that reaches the images' edges. One that would cut through a box is left out, and so is one whose
pixels are there already: in any split, `test` first. Of the rest as many are kept as are asked for, those with the
smallest hash of their name, so that the same command cuts the same tiles anywhere.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from vision_line.errors import VisionLineError
from vision_line_compression.data.dataset import LabelledImage, open_dataset, read_image


@dataclass(frozen=True, slots=True)
class Tile:
    """An image and the boxes in it: (n, 5), the class and centre x, y, width, height as shares of the side."""

    name: str
    png: bytes
    boxes: NDArray[np.float64]


def main(arguments: Sequence[str] | None = None) -> int:
    """Cut, and say how many tiles each split has."""
    options = _parse(arguments)
    try:
        cut(options.data, options.output, options.side, dict(options.with_boxes), dict(options.empty))
    except VisionLineError as exc:
        print(f"cut_tiles: {exc}", file=sys.stderr)
        return exc.exit_code
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Cut small images out of a labelled data set.")
    parser.add_argument("data", type=Path, help="data.yaml of the whole images")
    parser.add_argument("output", type=Path, help="folder to write; must be new")
    parser.add_argument("--side", type=int, required=True, help="pixels")
    parser.add_argument(
        "--with-boxes", type=_count, nargs="+", required=True, metavar="SPLIT=N", help="at most this many tiles"
    )
    parser.add_argument("--empty", type=_count, nargs="*", default=[], metavar="SPLIT=N", help="and so many without")
    return parser.parse_args(arguments)


def _count(text: str) -> tuple[str, int]:
    split, _, number = text.partition("=")
    return split, int(number)


def cut(data_yaml: Path, output: Path, side: int, with_boxes: Mapping[str, int], empty: Mapping[str, int]) -> None:
    """Write the tiles of each split of `with_boxes`, and the data.yaml of them all.

    Raises:
        ConfigError: the data set cannot be read.
        FileExistsError: `output` is there.
    """
    output.mkdir(parents=True)
    known: set[bytes] = set()
    classes: tuple[str, ...] = ()
    for split in sorted(with_boxes, key=("test", "val", "train").index):
        dataset = open_dataset(data_yaml, split)
        classes = dataset.classes
        found: dict[bool, list[Tile]] = {True: [], False: []}
        for tile in _unknown((tile for image in dataset.images for tile in tiles_of(image, side)), known):
            found[bool(len(tile.boxes))].append(tile)
        kept = [*_chosen(found[True], with_boxes[split]), *_chosen(found[False], empty.get(split, 0))]
        for tile in kept:
            _write(tile, output, split)
        print(f"{split}: {len(kept)} tiles of {len(found[True])} with boxes and {len(found[False])} without")
    content = {**{split: f"images/{split}" for split in with_boxes}, "names": dict(enumerate(classes))}
    (output / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def tiles_of(image: LabelledImage, side: int) -> Iterator[Tile]:
    """Yield the tiles of an image that cut through no box; none of an image smaller than a tile."""
    pixels = read_image(image)
    height, width = pixels.shape[:2]
    for y in _starts(height, side):
        for x in _starts(width, side):
            xyxy = image.xyxy.astype(np.float64) - (x, y, x, y)
            touched = (xyxy[:, 2:] > 0).all(axis=1) & (xyxy[:, :2] < side).all(axis=1)
            inside = (xyxy[:, :2] >= 0).all(axis=1) & (xyxy[:, 2:] <= side).all(axis=1)
            if (touched & ~inside).any():
                continue
            _, png = cv2.imencode(".png", pixels[y : y + side, x : x + side])
            centres, extents = (xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]
            boxes: NDArray[np.float64] = np.column_stack((image.class_id, centres / side, extents / side))
            yield Tile(f"{image.path.stem}_{y}_{x}", png.tobytes(), boxes[touched])


def _starts(length: int, side: int) -> list[int]:
    """Return where tiles begin: as many as fit without overlapping, spread to both ends."""
    number = length // side
    if number < 2:
        return [0] * number
    return [math.floor(place * (length - side) / (number - 1)) for place in range(number)]


def _unknown(tiles: Iterator[Tile], known: set[bytes]) -> Iterator[Tile]:
    """Yield tiles whose pixels were not seen, and remember them."""
    for tile in tiles:
        found = hashlib.sha256(tile.png).digest()
        if found not in known:
            known.add(found)
            yield tile


def _chosen(tiles: list[Tile], most: int) -> list[Tile]:
    return sorted(tiles, key=lambda tile: hashlib.sha256(tile.name.encode()).digest())[:most]


def _write(tile: Tile, output: Path, split: str) -> None:
    images, labels = output / "images" / split, output / "labels" / split
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    (images / f"{tile.name}.png").write_bytes(tile.png)
    lines = (f"{int(row[0])} {row[1]:.6f} {row[2]:.6f} {row[3]:.6f} {row[4]:.6f}\n" for row in tile.boxes)
    (labels / f"{tile.name}.txt").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
