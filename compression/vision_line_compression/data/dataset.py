# SPDX-License-Identifier: AGPL-3.0-or-later
"""A YOLO data set read from its `data.yaml`: images with true boxes, checked as a whole before anything is run."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from vision_line.devices.model.bundle import check_class_names
from vision_line.errors import ConfigError
from vision_line.frames import Boxes, ClassIds

ImageBGR = NDArray[np.uint8]  # (h, w, 3)

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})

#: Faults that one error names; a data set of another format would otherwise name every file.
MOST_FAULTS = 40

#: First bytes -> reader of the header. Not `PIL.Image.open`: Ultralytics replaces it by one that installs packages on
#: its own where a file is no image.
_READERS: dict[bytes, type[ImageFile]] = {
    b"\xff\xd8\xff": JpegImageFile,
    b"\x89PNG": PngImageFile,
    b"BM": BmpImageFile,
    b"II*\x00": TiffImageFile,
    b"MM\x00*": TiffImageFile,
    b"RIFF": WebPImageFile,
}

#: How far outside the image a share may lie, as in Ultralytics: labelling tools round.
_BEYOND = 0.01

_ORIENTATION, _TURNED = 0x0112, frozenset({5, 6, 7, 8})  # Exif tag; the values that swap width and height


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image file and its true boxes: `xyxy` (n, 4) in pixels of the image, `class_id` (n,)."""

    path: Path
    size_wh: tuple[int, int]
    xyxy: Boxes
    class_id: ClassIds


@dataclass(frozen=True, slots=True)
class Dataset:
    """One split of a data set; the images are in the order of their paths, of joined ones set after set."""

    source: Path  # data.yaml
    split: str
    classes: tuple[str, ...]
    images: tuple[LabelledImage, ...]

    def subset(self, most: int) -> Dataset:
        """Return at most `most` images, evenly spread over the split."""
        if len(self.images) <= most:
            return self
        chosen = np.linspace(0, len(self.images) - 1, most).round().astype(int)
        return Dataset(self.source, self.split, self.classes, tuple(self.images[index] for index in chosen))

    def joined(self, others: Iterable[Dataset]) -> Dataset:
        """Return this split with the images of `others` behind its own; their classes are the same."""
        images = (*self.images, *(image for other in others for image in other.images))
        return Dataset(self.source, self.split, self.classes, images)

    def sha256(self) -> str:
        """Return a hash of classes, images and boxes; it does not depend on where the data set lies."""
        digest = hashlib.sha256("\n".join(self.classes).encode())
        for image in self.images:
            digest.update(image.path.name.encode())
            digest.update(hashlib.sha256(image.path.read_bytes()).digest())
            digest.update(image.xyxy.tobytes() + image.class_id.tobytes())
        return digest.hexdigest()


def open_dataset(data_yaml: Path, split: str) -> Dataset:
    """Read the split (`train`, `val` or `test`) of a data set in Ultralytics' YOLO layout.

    `data.yaml` names the classes (`names`) and for each split a folder, a list file (`.txt`) or a list of these,
    relative to `path` or to its own folder. As in Ultralytics, `validation` stands for `val`, and of a single `../A`
    that is not there `A` is tried, which files from Roboflow need. The labels of `.../images/A.jpg` are
    `.../labels/A.txt`: a line is `class cx cy w h` or `class x1 y1 x2 y2 x3 y3 ...` (a polygon, of which the bounding
    box counts), in shares of the image; an image without label file has no object. Repeated lines count once. What
    tools' rounding puts a hundredth outside the image is cut off at its edge.

    Raises:
        ConfigError: naming every fault of the file, of the images' headers and of the labels that was found.
    """
    text = _read_yaml(data_yaml)
    faults: list[str] = []
    classes = _class_names(data_yaml, text, faults)
    paths = sorted(set(_split_files(data_yaml, text, split, faults)))
    images = [image for path in paths if (image := _read_image(path, len(classes), faults)) is not None]
    if not faults and not images:
        faults.append(f"{data_yaml}: {split}: expected images, found none")
    if faults:
        more = [f"... and {len(faults) - MOST_FAULTS} more"] if len(faults) > MOST_FAULTS else []
        raise ConfigError(*faults[:MOST_FAULTS], *more)
    return Dataset(data_yaml, split, classes, tuple(images))


def has_split(data_yaml: Path, split: str) -> bool:
    """Whether `data.yaml` names a split: one that is only added to others need not validate.

    Raises:
        ConfigError: the file is no YAML.
    """
    return bool(_entries(_read_yaml(data_yaml), split))


def open_images(folder: Path) -> Dataset:
    """Return the images in `folder` and the folders in it, without classes and boxes, as a split `calibration`.

    Raises:
        ConfigError: naming every file that is no image though it has the name of one, or that there is none.
    """
    faults: list[str] = []
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    sizes = [_measured(path, faults) for path in paths]
    if not paths:
        faults.append(f"{folder}: expected a folder with images, found none")
    if faults:
        raise ConfigError(*faults[:MOST_FAULTS])
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int32)
    images = [LabelledImage(path, size, *nothing) for path, size in zip(paths, sizes, strict=True) if size is not None]
    return Dataset(folder, "calibration", (), tuple(images))


def _read_yaml(path: Path) -> dict[str, object]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: no YAML: {' '.join(str(exc).split())}") from exc
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected the keys names, train, val, test, found {type(content).__name__}")
    return content


def _class_names(path: Path, text: dict[str, object], faults: list[str]) -> tuple[str, ...]:
    names = text.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or sorted(names, key=str) != sorted(range(len(names)), key=str):
        faults.append(f"{path}: names: expected a list or numbers from 0 with names, found {names!r}")
        return ()
    if "nc" in text and text["nc"] != len(names):
        faults.append(f"{path}: nc: expected {len(names)} as in names, found {text['nc']!r}")
    classes = tuple(str(names[number]) for number in range(len(names)))
    try:
        check_class_names(classes)
    except ValueError as exc:
        faults.append(f"{path}: names: {exc}")
    return classes


def _entries(text: dict[str, object], split: str) -> object:
    """Return what `data.yaml` says of a split; None where it does not name it."""
    return text.get("validation") if split == "val" and "val" not in text else text.get(split)


def _split_files(path: Path, text: dict[str, object], split: str, faults: list[str]) -> Iterator[Path]:
    entries = _entries(text, split)
    root = path.parent / str(text.get("path") or "")
    if isinstance(entries, str):
        entries = [_without_parent(root, entries)]
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, str) for entry in entries):
        faults.append(f"{path}: {split}: expected a folder or a list of folders, found {entries!r}")
        return
    for entry in entries:
        place = root / entry
        if place.is_dir():
            yield from (file for file in place.rglob("*") if file.suffix.lower() in SUFFIXES)
        elif place.is_file() and place.suffix == ".txt":
            lines = _lines(place, faults)
            yield from (place.parent / line.strip() for line in lines if line.strip())
        else:
            faults.append(f"{path}: {split}: expected a folder or a .txt list, found nothing at {place}")


def _without_parent(root: Path, entry: str) -> str:
    """Return `entry`, without a leading `../` where only that is there."""
    shorter = entry.removeprefix("../")
    return shorter if not (root / entry).exists() and (root / shorter).exists() else entry


def _read_image(path: Path, classes: int, faults: list[str]) -> LabelledImage | None:
    size_wh = _measured(path, faults)
    if size_wh is None:
        return None
    rows = _read_labels(label_path(path), classes, faults)
    xyxy = rows[:, 1:] * np.array(size_wh * 2)
    return LabelledImage(path, size_wh, xyxy.astype(np.float32), rows[:, 0].astype(np.int32))


def _measured(path: Path, faults: list[str]) -> tuple[int, int] | None:
    try:
        return _read_size(path)
    except SyntaxError as exc:  # what PIL's readers raise for a header that is none
        faults.append(f"{path}: no image: {exc}")
    except OSError as exc:
        faults.append(f"{path}: cannot be read: {exc.strerror or exc}")
    return None


def _read_size(path: Path) -> tuple[int, int]:
    """Return width and height as they are seen, the camera's orientation followed; only the header is read."""
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        reader = next((reader for magic, reader in _READERS.items() if start.startswith(magic)), None)
        if reader is None:
            raise SyntaxError("not a JPEG, PNG, BMP, TIFF or WebP file")
        with reader(file, str(path)) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION) in _TURNED
    return (height, width) if turned else (width, height)


def label_path(image: Path) -> Path:
    """Return where the labels of `image` are: `labels` in place of the last folder named `images`."""
    parts = list(image.with_suffix(".txt").parts)
    folders = [number for number, part in enumerate(parts[:-1]) if part == "images"]
    if folders:
        parts[folders[-1]] = "labels"
    return Path(*parts)


def _read_labels(path: Path, classes: int, faults: list[str]) -> NDArray[np.float64]:
    """Return (n, 5): class, x1 y1 x2 y2 in shares of the image, from 0 to 1."""
    lines = _lines(path, faults, optional=True)
    rows: dict[tuple[float, ...], None] = {}  # a set that keeps the order
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            rows[_parse_label(line, classes)] = None
        except ValueError as exc:
            faults.append(f"{path}:{number}: {exc}")
    return np.array(list(rows), np.float64).reshape(-1, 5)


def _lines(path: Path, faults: list[str], *, optional: bool = False) -> list[str]:
    """Return the lines of a text file, with or without a byte order mark; none where an optional one is not there."""
    if optional and not os.path.lexists(path):
        return []
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as exc:
        faults.append(f"{path}: cannot be read: {exc.strerror}")
    except UnicodeDecodeError as exc:
        faults.append(f"{path}: cannot be read: {exc}")
    return []


def _parse_label(line: str, classes: int) -> tuple[float, ...]:
    try:
        class_id, *shares = (float(word) for word in line.split())
    except ValueError:
        raise ValueError(f"expected numbers, found {line[:60]!r}") from None
    if len(shares) != 4 and (len(shares) < 6 or len(shares) % 2):
        raise ValueError(f"expected a class and 4 shares or a polygon, found {len(shares) + 1} numbers")
    if class_id not in range(classes):
        raise ValueError(f"class: expected 0 to {classes - 1}, found {class_id:g}")
    if not all(-_BEYOND <= share <= 1.0 + _BEYOND for share in shares):
        raise ValueError(f"expected shares from 0 to 1, found {line[:60]!r}")
    if len(shares) > 4:
        edges = min(shares[::2]), min(shares[1::2]), max(shares[::2]), max(shares[1::2])
    else:
        centre_x, centre_y, width, height = shares
        edges = centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2
    left, top, right, bottom = (min(max(edge, 0.0), 1.0) for edge in edges)
    if left >= right or top >= bottom:
        raise ValueError("expected a box, found one without extent")
    return class_id, left, top, right, bottom


def read_image(image: LabelledImage) -> ImageBGR:
    """Return the pixels of `image`.

    Raises:
        ConfigError: it cannot be decoded, or has another size than its header says.
    """
    pixels = cv2.imread(str(image.path))
    if pixels is None:
        raise ConfigError(f"{image.path}: it cannot be decoded as an image")
    if pixels.shape[1::-1] != image.size_wh:
        raise ConfigError(f"{image.path}: expected {image.size_wh} pixels (w, h), found {pixels.shape[1::-1]}")
    return np.asarray(pixels, np.uint8)


def data_warnings(splits: Mapping[str, Dataset], calibration: Dataset | None = None) -> Iterator[str]:
    """Yield a sentence for what is legal in a data set and hardly meant.

    That is each folder of a split whose images have no label file, each split without boxes of some classes, and each
    two splits that share images. Splits of the same name in the data set are one. Images are the same where their bytes
    are, under any name. `calibration` are images of their own, which may be those that train, and no others.
    """
    once = {dataset.split: dataset for dataset in splits.values()}
    for name, dataset in once.items():
        yield from _missing_labels(name, dataset)
        yield from _missing_classes(name, dataset)
    pairs = list(combinations(once, 2))
    if calibration is not None:
        once[calibration.split] = calibration
        pairs += [(calibration.split, name) for name in once if name not in ("train", calibration.split)]
    contents = {name: _contents(dataset) for name, dataset in once.items()}
    for one, other in pairs:
        ours, theirs = contents[one], contents[other]
        shared = ours.keys() & theirs.keys()
        if shared:
            example = min((ours[digest], theirs[digest]) for digest in shared)
            yield (
                f"{once[one].source}: {one} and {other} share {len(shared)} images, such as {example[0]} and "
                f"{example[1]}: figures on {other} flatter what was trained, calibrated or chosen on {one}"
            )


def _missing_labels(name: str, dataset: Dataset) -> Iterator[str]:
    folders: dict[Path, list[Path]] = {}  # of label files that are not there, by the folder that they would lie in
    images: Counter[Path] = Counter()
    for image in dataset.images:
        labels = label_path(image.path)
        images[labels.parent] += 1
        if not labels.exists():
            folders.setdefault(labels.parent, []).append(labels)
    missing = sum(map(len, folders.values()))
    for folder, files in folders.items():
        if len(files) == images[folder]:
            all_images = f"; of all {len(dataset.images)} images {missing} have none" if len(images) > 1 else ""
            yield (
                f"{dataset.source}: {name}: none of the {len(files)} images has a label file in {folder}, so all count "
                f"as free of objects; the first one's was looked for at {files[0]}{all_images}"
            )


def _missing_classes(name: str, dataset: Dataset) -> Iterator[str]:
    if not any(label_path(image.path).exists() for image in dataset.images):
        return  # said before
    present = {int(class_id) for image in dataset.images for class_id in image.class_id}
    if missing := [known for class_id, known in enumerate(dataset.classes) if class_id not in present]:
        yield f"{dataset.source}: {name}: has no box of {', '.join(missing)}: nothing there says what is found of them"


def _contents(dataset: Dataset) -> dict[bytes, Path]:
    return {hashlib.sha256(image.path.read_bytes()).digest(): image.path for image in dataset.images}
