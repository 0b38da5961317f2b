# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes reviewed images into a new folder: all of it, or nothing."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vision_line.errors import ConfigError, RunError
from vision_line.ports import ProgressCallback
from vision_line.records.coco import known_classes
from vision_line.records.directory import ForeignFileError, read_stored
from vision_line.records.side_journal import head
from vision_line.reviews.answer_journal import answers_by_item
from vision_line.reviews.handoff.coco_set import IMAGES, coco_files
from vision_line.reviews.handoff.data_card import README, CardFacts, data_card
from vision_line.reviews.handoff.label_studio import label_studio_files
from vision_line.reviews.handoff.reviewed_image import ReviewedImage
from vision_line.reviews.handoff.reviewed_images import LeftOut, WantedReviews, read_reviewed_images
from vision_line.reviews.handoff.set_format import SetFormat
from vision_line.reviews.handoff.train_split import Split, split_images
from vision_line.reviews.handoff.yolo_set import image_name, yolo_files
from vision_line.reviews.settled_answers import SettledItem


@dataclass(frozen=True, slots=True)
class ExportedSet:
    """What was written, and how many items or images were left out and why."""

    images: int
    splits: Mapping[str, int]
    left_out: Mapping[LeftOut, int]


def export_set(
    records: Path,
    connections: tuple[sqlite3.Connection, sqlite3.Connection],
    wanted: WantedReviews,
    file_format: SetFormat,
    output: Path,
    progress: ProgressCallback,
) -> ExportedSet:
    """Write the set into `output`, a folder that is not there yet or empty; the same bytes for the same answers.

    `connections` read the record file of `records`, and `reviews.sqlite`.

    Raises:
        ConfigError: `output` is no such folder, or there is no image.
        RunError: it cannot be written, or an image cannot be read.
        sqlite3.Error: as it comes.
    """
    rows, reviews = connections
    _check_empty(output)
    answered = [SettledItem.of(answers) for _, answers in answers_by_item(reviews)]
    found = read_reviewed_images(rows, answered, wanted)
    left_out = Counter(found.left_out)
    classes = _classes(rows, found.images, file_format)
    with _new_folder(output) as folder:
        known = [image for image in found.images if all(one.class_name in classes for one in image.defects)]
        left_out[LeftOut.OTHER_CLASS] += len(found.images) - len(known)
        copied = _copied(records, known, folder / IMAGES, left_out, progress)
        images, splits = _divided(copied, file_format, left_out)
        if not images:
            raise ConfigError(_nothing(left_out))
        facts = CardFacts(
            file_format=file_format,
            images=images,
            answered=answered,
            left_out=left_out,
            classes=classes,
            splits=Counter(split.value for split in splits if file_format.is_yolo),
            models=_models(images),
            head=head(reviews),
        )
        files = _files(facts, splits, output.name)
        for name, content in {**files, README: data_card(facts).encode()}.items():
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        if file_format.is_yolo:
            _sort_images(folder, images, splits)
    return ExportedSet(len(images), facts.splits, left_out)


def _check_empty(output: Path) -> None:
    """Raise ConfigError where something is in the way of a new folder."""
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise ConfigError(f"-o {output}: expected a folder that is new or empty")
    if output.is_dir() and any(output.iterdir()):
        raise ConfigError(f"-o {output}: expected a folder that is new or empty, and this one has files in it")


@contextmanager
def _new_folder(output: Path) -> Iterator[Path]:
    """Yield a folder that gets the name `output` when all is in it.

    Raises:
        RunError: it cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.absolute().parent) as made:
            folder = Path(made) / "set"
            folder.mkdir()
            yield folder
            folder.replace(output)
    except OSError as exc:
        raise RunError(f"-o {output}: cannot be written: {exc.strerror}") from exc


def _classes(rows: sqlite3.Connection, images: Sequence[ReviewedImage], file_format: SetFormat) -> dict[str, int]:
    """Return the classes with numbers from 1: of YOLO the newest model's alone, in its order; else all there are."""
    if file_format.is_yolo:
        (newest,) = rows.execute("SELECT classes FROM runs ORDER BY run DESC LIMIT 1").fetchone()
        return {str(name): number for number, name in enumerate(json.loads(newest), 1)}
    classes = known_classes(rows)
    for name in sorted({one.class_name for image in images for one in image.defects} - classes.keys()):
        classes[name] = len(classes) + 1
    return classes


def _models(images: Sequence[ReviewedImage]) -> list[str]:
    """Return the SHA-256 of each model that inspected one of the images."""
    return sorted({image.frame.model_sha256 for image in images})


def _copied(
    records: Path,
    images: Sequence[ReviewedImage],
    folder: Path,
    left_out: Counter[LeftOut],
    progress: ProgressCallback,
) -> list[ReviewedImage]:
    """Copy the images whose files are those that were recorded, and return these."""
    folder.mkdir()
    copied = []
    for done, image in enumerate(images, 1):
        frame = image.frame
        try:
            data = read_stored(records, frame.path, frame.sha256, frame.folder)
        except FileNotFoundError:
            left_out[LeftOut.NO_IMAGE] += 1  # the running line made room meanwhile
        except ForeignFileError:
            left_out[LeftOut.STRANGE] += 1
        else:
            (folder / image.file_name).write_bytes(data)
            copied.append(image)
        progress(done, len(images))
    return copied


def _divided(
    images: Sequence[ReviewedImage], file_format: SetFormat, left_out: Counter[LeftOut]
) -> tuple[list[ReviewedImage], list[Split]]:
    """Return the images that stay, with what each is for."""
    if not file_format.is_yolo:
        return list(images), [Split.TRAIN] * len(images)
    sides = split_images(images)
    left_out[LeftOut.BESIDE_THE_SPLIT] += sides.count(None)
    kept = [(image, side) for image, side in zip(images, sides, strict=True) if side is not None]
    return [image for image, _ in kept], [side for _, side in kept]


def _files(facts: CardFacts, splits: Sequence[Split], folder: str) -> dict[str, bytes]:
    match facts.file_format:
        case SetFormat.YOLO | SetFormat.YOLO_OBB | SetFormat.YOLO_SEG:
            divided = list(zip(facts.images, splits, strict=True))
            return yolo_files(divided, list(facts.classes), facts.file_format)
        case SetFormat.COCO:
            return coco_files(facts.images, facts.classes)
        case _:
            return label_studio_files(facts.images, list(facts.classes), folder, ", ".join(facts.models))


def _sort_images(folder: Path, images: Sequence[ReviewedImage], splits: Sequence[Split]) -> None:
    """Move each image to its split; what no split wanted goes with the folder that it was copied to."""
    copied = (folder / IMAGES).rename(folder / ".copied")
    for image, split in zip(images, splits, strict=True):
        place = folder / image_name(image, split)
        place.parent.mkdir(parents=True, exist_ok=True)
        (copied / image.file_name).rename(place)
    shutil.rmtree(copied)


def _nothing(left_out: Mapping[LeftOut, int]) -> str:
    reasons = "; ".join(f"{count}: {why.value}" for why, count in left_out.items() if count)
    return f"there is no image to export{f': {reasons}' if reasons else ': nothing was reviewed in this time'}"
