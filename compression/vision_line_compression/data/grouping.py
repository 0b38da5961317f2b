# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which images show the same thing: several of one board are missed or found together, and are no proof each."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from vision_line.errors import ConfigError
from vision_line_compression.data.dataset import Dataset

#: Instead of a pattern: images in one folder belong together.
FOLDER = "folder"

Groups = NDArray[np.intp]  # the number of each image's group, from 0 (images,)


def group_images(dataset: Dataset, by: str, key: str = "data.group") -> Groups:
    """Return the group of each image: by its folder, or by what a regular expression finds in its file's name.

    Of the expression its first group counts where it has one, else all that it matches. `key` is where it was said.

    Raises:
        ConfigError: it finds nothing in a name, or there are fewer than two groups.
    """
    names = [str(image.path.parent) if by == FOLDER else _found(by, image.path.name) for image in dataset.images]
    nameless = [image.path for image, name in zip(dataset.images, names, strict=True) if not name]
    if nameless:
        raise ConfigError(
            f"{dataset.source}: {dataset.split}: {key}: {by!r} finds nothing in {len(nameless)} of {len(names)} "
            f"file names; the first is {nameless[0].name}"
        )
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    if len(numbers) < 2:
        raise ConfigError(
            f"{dataset.source}: {dataset.split}: {key}: {by!r} puts all {len(names)} images into one group, "
            "expected at least two: one says nothing of others"
        )
    return np.array([numbers[name] for name in names], np.intp)


def _found(pattern: str, name: str) -> str:
    found = re.search(pattern, name)
    if found is None:
        return ""
    return (found.group(1) or "") if found.re.groups else found.group()
