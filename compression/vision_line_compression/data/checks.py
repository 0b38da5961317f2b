# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is legal in a data set and hardly ever meant: no labels at all, and images that two splits share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

from vision_line_compression.data.dataset import Dataset, label_path


def data_warnings(splits: Mapping[str, Dataset]) -> Iterator[str]:
    """Yield a sentence for each split whose images have no label file, and for each two that share images.

    Splits of the same name in the data set are one. Images are the same where their bytes are, under any name.
    """
    once = {dataset.split: dataset for dataset in splits.values()}
    for name, dataset in once.items():
        if not any(label_path(image.path).exists() for image in dataset.images):
            expected = label_path(dataset.images[0].path)
            yield (
                f"{dataset.source}: {name}: none of the {len(dataset.images)} images has a label file, so all count "
                f"as free of objects; the first one's was looked for at {expected}"
            )
    contents = {name: _contents(dataset) for name, dataset in once.items()}
    for (one, ours), (other, theirs) in combinations(contents.items(), 2):
        shared = ours.keys() & theirs.keys()
        if shared:
            example = min((ours[digest], theirs[digest]) for digest in shared)
            yield (
                f"{once[one].source}: {one} and {other} share {len(shared)} images, such as {example[0]} and "
                f"{example[1]}: figures on {other} flatter what was trained or chosen on {one}"
            )


def _contents(dataset: Dataset) -> dict[bytes, Path]:
    return {hashlib.sha256(image.path.read_bytes()).digest(): image.path for image in dataset.images}
