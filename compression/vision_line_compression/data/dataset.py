# SPDX-License-Identifier: AGPL-3.0-or-later
"""A YOLO data set read from its `data.yaml`: images with true boxes, checked as a whole before anything is run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

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
from vision_line.devices.model.rotated_boxes import RotatedBoxes
from vision_line.devices.model.tasks import ModelTask
from vision_line.errors import ConfigError
from vision_line.frames import Boxes, ClassIds

ImageBGR = NDArray[np.uint8]  # (h, w, 3)
Polygon = NDArray[np.float32]  # (k, 2): x, y in shares of the image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})

#: Images to Ultralytics, which would train on them, and to no inspection.
_FOREIGN_SUFFIXES = frozenset({".avif", ".dng", ".heic", ".heif", ".jp2", ".mpo"})

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

#: Last bytes that a whole file has, here or before what was appended to it.
_JPEG_START, _JPEG_END, _TAIL_BYTES = b"\xff\xd8\xff", b"\xff\xd9", 4096

#: How far outside the image a share may lie, as in Ultralytics: labelling tools round.
_BEYOND = 0.01

#: Numbers of four corners; how far from the upright box's a corner of an upright box may be, as a share of its side.
_CORNER_SHARES, _SKEW = 8, 0.05

_ORIENTATION, _TURNED = 0x0112, frozenset({5, 6, 7, 8})  # Exif tag; the values that swap width and height


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image file and its true boxes: `xyxy` (n, 4) in pixels of the image, `class_id` (n,).

    `rotated` (n, 5) are the boxes as rotated ones, where they were asked for: `xyxy` are then the upright ones around
    them. `polygons` are the corners as they were labelled, for a `task` of rotated boxes or of masks: those of its
    objects, boxes being rectangles. `turned` counts the boxes that were labelled by four corners of no upright
    rectangle, `outlined` those by any polygon that is none. A JPEG file that is `cut_off` decodes, grey where its end
    is missing.
    """

    path: Path
    size_wh: tuple[int, int]
    xyxy: Boxes
    class_id: ClassIds
    cut_off: bool = False
    rotated: RotatedBoxes | None = None
    polygons: tuple[Polygon, ...] = ()
    turned: int = 0
    outlined: int = 0
    task: ModelTask = ModelTask.DETECT

    @property
    def sides_wh(self) -> Boxes:
        """Widths and heights (n, 2) of the true boxes, in pixels."""
        return self.xyxy[:, 2:] - self.xyxy[:, :2] if self.rotated is None else self.rotated[:, 2:4]


@dataclass(frozen=True, slots=True)
class Dataset:
    """One split of a data set; the images are in the order of their paths, of joined ones set after set."""

    source: Path  # data.yaml
    split: str
    classes: tuple[str, ...]
    images: tuple[LabelledImage, ...]
    is_named: bool = True  # False: only the number of classes is known, and `classes` are class_0, class_1 ...

    def named_as(self, classes: tuple[str, ...]) -> Dataset:
        """Return this split with a model's `classes` where it names none itself and has as many."""
        if self.is_named or len(self.classes) != len(classes):
            return self
        return replace(self, classes=classes)

    def subset(self, most: int) -> Dataset:
        """Return at most `most` images, evenly spread over the split."""
        if len(self.images) <= most:
            return self
        chosen = np.linspace(0, len(self.images) - 1, most).round().astype(int)
        return replace(self, images=tuple(self.images[index] for index in chosen))

    def joined(self, others: Iterable[Dataset]) -> Dataset:
        """Return this split with the images of `others` behind its own; their classes are the same."""
        return replace(self, images=(*self.images, *(image for other in others for image in other.images)))

    def sha256(self) -> str:
        """Return a hash of classes, images and boxes; it does not depend on where the data set lies."""
        digest = hashlib.sha256("\n".join(self.classes).encode())
        for image in self.images:
            digest.update(image.path.name.encode())
            digest.update(hashlib.sha256(image.path.read_bytes()).digest())
            digest.update(image.xyxy.tobytes() + image.class_id.tobytes())
            digest.update(b"" if image.rotated is None else image.rotated.tobytes())
            if image.task is ModelTask.SEGMENT:
                digest.update(b"".join(polygon.tobytes() for polygon in image.polygons))
        return digest.hexdigest()


def open_dataset(data_yaml: Path, split: str, *, task: ModelTask = ModelTask.DETECT) -> Dataset:
    """Read the split (`train`, `val` or `test`) of a data set in Ultralytics' YOLO layout.

    `data.yaml` names the classes (`names`, or only their number `nc`) and for each split a folder, a list file or some
    of these, relative to `path` or to its own folder. As in Ultralytics, `validation` stands for `val`, of a single
    `../A` that is not there `A` is tried, which files from Roboflow need, and a relative `path` may also begin in the
    working directory or in Ultralytics' folder of data sets. Lines of a list begin in its folder, in `path`, or in the
    working directory. What is there first counts. The labels of `.../images/A.jpg` are `.../labels/A.txt`: a line is
    `class cx cy w h` or `class x1 y1 x2 y2 x3 y3 ...` (a polygon, of which the bounding box counts; for the `task` of
    rotated boxes also the smallest rectangle of any angle around it, of four corners the rotated box as Ultralytics
    labels it; for that of masks the polygon itself), in shares of the image; an image without label file has no object.
    Repeated lines count once. What tools' rounding puts a hundredth outside the image is cut off at its edge.

    Raises:
        ConfigError: naming every fault of the file, of the images' headers and of the labels that was found.
    """
    text = _read_yaml(data_yaml)
    if "kpt_shape" in text:  # a row of keypoints could be read as a polygon
        raise ConfigError(f"{data_yaml}: kpt_shape: is a data set for the task 'pose' (keypoints), expected boxes")
    faults: list[str] = []
    classes = _class_names(data_yaml, text, faults)
    paths = sorted(set(_split_files(data_yaml, text, split, faults)))
    count = len(classes) or None
    images = [image for path in paths if (image := _read_image(path, count, faults, task)) is not None]
    if not faults and not images:
        faults.append(f"{data_yaml}: {split}: expected images, found none")
    if faults:
        more = [f"... and {len(faults) - MOST_FAULTS} more"] if len(faults) > MOST_FAULTS else []
        raise ConfigError(*faults[:MOST_FAULTS], *more)
    return Dataset(data_yaml, split, classes, tuple(images), is_named=text.get("names") is not None)


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
    images = [
        LabelledImage(path, size, *nothing, cut_off=_is_cut_off(path))
        for path, size in zip(paths, sizes, strict=True)
        if size is not None
    ]
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
    names, count = text.get("names"), _count(text.get("nc"))
    if names is None and count:
        return tuple(f"class_{number}" for number in range(count))
    if isinstance(names, list):
        names = dict(enumerate(names))
    if isinstance(names, dict):  # keys may be in quotes
        names = {int(key) if str(key).isdecimal() else key: name for key, name in names.items()}
    if not isinstance(names, dict) or not names or sorted(names, key=str) != sorted(range(len(names)), key=str):
        faults.append(f"{path}: names: expected a list or numbers from 0 with names, found {names!r}")
        return ()
    if text.get("nc") is not None and count != len(names):
        faults.append(f"{path}: nc: expected {len(names)} as in names, found {text['nc']!r}")
    if text.get("channels", 3) not in (1, 3):
        faults.append(f"{path}: channels: an inspection has 3, or 1 of a grey camera, found {text['channels']!r}")
    classes = tuple(str(names[number]) for number in range(len(names)))
    try:
        check_class_names(classes)
    except ValueError as exc:
        faults.append(f"{path}: names: {exc}")
    return classes


def _count(value: object) -> int | None:
    """Return a whole number above zero, also one that is written as `"10"` or `10.0`; None where it is none."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return int(number) if number >= 1 and number.is_integer() else None


def _entries(text: dict[str, object], split: str) -> object:
    """Return what `data.yaml` says of a split; None where it does not name it."""
    return text.get("validation") if split == "val" and "val" not in text else text.get(split)


def _split_files(path: Path, text: dict[str, object], split: str, faults: list[str]) -> Iterator[Path]:
    entries = _entries(text, split)
    root = _root(path, str(text.get("path") or ""))
    if isinstance(entries, str):
        entries = [_without_parent(root, entries)]
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, str) for entry in entries):
        faults.append(f"{path}: {split}: expected a folder or a list of folders, found {entries!r}")
        return
    for entry in entries:
        place = root / entry
        if place.is_dir():
            files = sorted(place.rglob("*"))
            yield from (file for file in files if file.suffix.lower() in SUFFIXES)
            if foreign := [file for file in files if file.suffix.lower() in _FOREIGN_SUFFIXES]:
                faults.append(
                    f"{path}: {split}: found {len(foreign)} images of kinds that no inspection reads, such as "
                    f"{foreign[0]}: expected JPEG, PNG, BMP, TIFF or WebP files"
                )
        elif place.is_file() and place.suffix.lower() not in SUFFIXES:
            yield from (_listed(place, root, line.strip()) for line in _lines(place, faults) if line.strip())
        else:
            faults.append(f"{path}: {split}: expected a folder or a .txt list, found nothing at {place}")


def _root(data_yaml: Path, wanted: str) -> Path:
    """Return the folder that `path` means; beside data.yaml where there is none anywhere."""
    beside = data_yaml.parent / wanted
    if not wanted or Path(wanted).is_absolute() or beside.exists():
        return beside
    if Path(wanted).exists():
        return Path(wanted).absolute()
    from ultralytics.utils import DATASETS_DIR  # takes seconds, and is rarely asked

    return DATASETS_DIR / wanted if (DATASETS_DIR / wanted).exists() else beside


def _listed(file: Path, root: Path, line: str) -> Path:
    """Return the image that a line of the list `file` means; in the list's folder where there is none anywhere."""
    places = (file.parent / line, root / line, Path(line).absolute())
    return next((place for place in places if place.exists()), places[0])


def _without_parent(root: Path, entry: str) -> str:
    """Return `entry`, without a leading `../` where only that is there."""
    shorter = entry.removeprefix("../")
    return shorter if not (root / entry).exists() and (root / shorter).exists() else entry


def _read_image(path: Path, classes: int | None, faults: list[str], task: ModelTask) -> LabelledImage | None:
    size_wh = _measured(path, faults)
    if size_wh is None:
        return None
    labels = _read_labels(label_path(path), classes, faults, whole=task is not ModelTask.DETECT)
    rows = np.array([label.row for label in labels], np.float64).reshape(-1, 5)
    xyxy = rows[:, 1:] * np.array(size_wh * 2)
    image = LabelledImage(
        path,
        size_wh,
        xyxy.astype(np.float32),
        rows[:, 0].astype(np.int32),
        _is_cut_off(path),
        turned=sum(_is_outlined(label) and len(label.polygon) == _CORNER_SHARES for label in labels),
        outlined=sum(map(_is_outlined, labels)),
        task=task,
    )
    if task is ModelTask.DETECT:
        return image
    polygons = tuple(np.array(label.polygon, np.float32).reshape(-1, 2) for label in labels)
    rectangles = _rectangles([polygon * np.array(size_wh, np.float32) for polygon in polygons])
    if (rectangles[:, 2:4] <= 0).any():
        wanted = "rotated boxes" if task is ModelTask.OBB else "polygons around objects"
        faults.append(f"{label_path(path)}: expected {wanted}, found corners on one line")
    return replace(image, rotated=rectangles if task is ModelTask.OBB else None, polygons=polygons)


def _is_outlined(label: _Label) -> bool:
    """Say whether a label is a polygon other than an upright rectangle, but for a little."""
    _, left, top, right, bottom = label.row
    upright = all(_is_near_an_end(value, left, right) for value in label.polygon[::2])
    upright = upright and all(_is_near_an_end(value, top, bottom) for value in label.polygon[1::2])
    return not (upright and len(label.polygon) == _CORNER_SHARES)


def _is_near_an_end(value: float, low: float, high: float) -> bool:
    return min(abs(value - low), abs(value - high)) <= _SKEW * (high - low)


def _rectangles(polygons: Sequence[NDArray[np.float32]]) -> RotatedBoxes:
    """Return the smallest rectangles (n, 5) around `polygons`, each (k, 2) in pixels."""
    found = []
    for points in polygons:
        (x, y), (width, height), degrees = cv2.minAreaRect(points)
        found.append((x, y, width, height, np.radians(degrees)))
    return np.array(found, np.float32).reshape(-1, 5)


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


def _is_cut_off(path: Path) -> bool:
    """Whether the end of a JPEG file is missing: what is there of it is decoded all the same, without a word."""
    with path.open("rb") as file:
        if file.read(len(_JPEG_START)) != _JPEG_START:
            return False
        file.seek(-min(_TAIL_BYTES, file.seek(0, os.SEEK_END)), os.SEEK_END)
        return _JPEG_END not in file.read()


def label_path(image: Path) -> Path:
    """Return where the labels of `image` are: `labels` in place of the last folder named `images`."""
    parts = list(image.with_suffix(".txt").parts)
    folders = [number for number, part in enumerate(parts[:-1]) if part == "images"]
    if folders:
        parts[folders[-1]] = "labels"
    return Path(*parts)


class _Label(NamedTuple):
    """A line: class, x1 y1 x2 y2 in shares of the image, from 0 to 1; and the corners, x y x y ..."""

    row: tuple[float, ...]
    polygon: tuple[float, ...]


def _read_labels(path: Path, classes: int | None, faults: list[str], *, whole: bool) -> list[_Label]:
    """Return what the lines say, each once, by its corners where `whole`; None: how many classes is not known."""
    lines = _lines(path, faults, optional=True)
    rows: dict[tuple[float, ...], _Label] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            label = _parse_label(line, classes)
            rows.setdefault((*label.row, *label.polygon) if whole else label.row, label)
        except ValueError as exc:
            faults.append(f"{path}:{number}: {exc}")
    return list(rows.values())


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


def _parse_label(line: str, classes: int | None) -> _Label:
    try:
        class_id, *shares = (float(word) for word in line.split())
    except ValueError:
        raise ValueError(f"expected numbers, found {line[:60]!r}") from None
    if len(shares) != 4 and (len(shares) < 6 or len(shares) % 2):
        raise ValueError(f"expected a class and 4 shares or a polygon, found {len(shares) + 1} numbers")
    if classes is not None and class_id not in range(classes):
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
    upright = (left, top, right, top, right, bottom, left, bottom)
    return _Label((class_id, left, top, right, bottom), tuple(shares) if len(shares) > 4 else upright)


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
