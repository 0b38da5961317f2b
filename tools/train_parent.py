# SPDX-License-Identifier: AGPL-3.0-or-later
"""Train the model that a recipe compresses, as the recipe trains all else: its images, `[train]`, `parent.epochs`.

    python -m tools.train_parent compression/recipes/bsdata.toml --start yolov8n.pt --data bsdata/data.yaml -o bsdata.pt

needs the `compress` extra. `--start` may have been trained on other classes. Interrupted, the same command goes on with
the epoch after the last complete one. So the control `narrow-pretrained` has what the parent had: start, images and
epochs.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vision_line.errors import ConfigError, VisionLineError
from vision_line_compression.network.ultralytics_offline import keep_ultralytics_offline


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; nothing is done where the result is there."""
    options = _parse(arguments)
    keep_ultralytics_offline()
    try:
        if not options.output.exists():
            train(options.recipe, options.start, options.data, options.output)
    except VisionLineError as exc:
        print(f"train_parent: {exc}", file=sys.stderr)
        return exc.exit_code
    print(options.output)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the parent of a recipe.")
    parser.add_argument("recipe", type=Path, help="recipe that will compress it")
    parser.add_argument("--start", type=Path, required=True, help="checkpoint to begin with, of any classes")
    parser.add_argument("--data", type=Path, help="replaces data.yaml of the recipe")
    parser.add_argument("-o", "--output", type=Path, required=True, help="checkpoint to write")
    return parser.parse_args(arguments)


def train(recipe_file: Path, start: Path, data_yaml: Path | None, output: Path) -> None:
    """Write the trained checkpoint; what an interruption left lies in `output` with the suffix `.training`.

    Raises:
        ConfigError: the recipe does not say how long its parent is trained, or its data set is wrong.
        ModelError: the checkpoint.
    """
    from vision_line_compression.data.dataset import open_dataset
    from vision_line_compression.network.checkpoint import load_checkpoint, save_checkpoint
    from vision_line_compression.network.family import with_classes
    from vision_line_compression.pipeline.recipe import load_recipe
    from vision_line_compression.progress import ProgressDisplay
    from vision_line_compression.training.fine_tuning import link_training_data, recover
    from vision_line_compression.training.schedule import plan_training

    loaded = load_recipe(recipe_file, None, data_yaml)
    recipe = loaded.recipe
    if recipe.parent.epochs is None:
        raise ConfigError(f"{recipe_file}: parent.epochs: is missing, expected how long the parent is trained")
    opened = load_checkpoint(start)
    splits = {split: open_dataset(loaded.data_yaml, split, task=opened.task) for split in ("train", "val")}
    classes = splits["train"].classes
    work = output.with_suffix(".training")
    save_checkpoint(with_classes(opened, classes, recipe.seed), work / "start.pt", replace(opened, classes=classes))
    schedule = plan_training("parent", recipe.parent.epochs, recipe.train, recipe.seed)
    data = link_training_data(work / "data", splits)
    with ProgressDisplay().stage("parent") as progress:
        made = recover(work / "start.pt", data, schedule, work / "phases", report=progress)
    partial = output.with_suffix(".partial")
    shutil.copyfile(made, partial)
    partial.replace(output)
    shutil.rmtree(work)


if __name__ == "__main__":
    sys.exit(main())
