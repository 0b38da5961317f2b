# SPDX-License-Identifier: AGPL-3.0-or-later
"""The data set as Ultralytics' trainer reads it: links to the images and labels, in a folder of the run.

The trainer writes caches beside the labels; so the user's folder is never written to, and may be read-only.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from vision_line_compression.data.dataset import Dataset, label_path


def link_training_data(folder: Path, splits: dict[str, Dataset]) -> Path:
    """Write `folder/data.yaml` and links to the images of `splits` by the names train, val, test.

    Files that are there already are kept when they point to the same image. Returns the path of data.yaml.
    """
    for name, dataset in splits.items():
        images, labels = folder / "images" / name, folder / "labels" / name
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(dataset.images):
            link = f"{number:06d}_{image.path.stem}"
            _ensure_link(images / f"{link}{image.path.suffix}", image.path)
            source = label_path(image.path)
            if source.exists():
                _ensure_link(labels / f"{link}.txt", source)
    data_yaml = folder / "data.yaml"
    classes = next(iter(splits.values())).classes
    content = {
        "path": str(folder.absolute()),
        **{name: f"images/{name}" for name in splits},
        "names": dict(enumerate(classes)),
    }
    data_yaml.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return data_yaml


def _ensure_link(link: Path, target: Path) -> None:
    target = target.absolute()
    if link.is_symlink() and link.readlink() == target:
        return
    link.unlink(missing_ok=True)
    link.symlink_to(target)
