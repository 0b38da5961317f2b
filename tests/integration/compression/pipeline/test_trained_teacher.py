# SPDX-License-Identifier: AGPL-3.0-or-later
"""A teacher that is trained first, a distillation that has to pay, and networks that begin as the parent began."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vision_line_compression.network.checkpoint import complexity, load_checkpoint, save_checkpoint
from vision_line_compression.network.family import at_scale, scaled_width, with_classes
from vision_line_compression.pipeline.steps.narrow import cut_to
from vision_line_compression.pipeline.steps.teacher_choice import TeacherChoice

from .conftest import Bench, WriteCheckpoint

TEACHER = '[teacher]\ntrain = true\nepochs = 1\nscale = "s"\n'


@pytest.mark.long  # every commit sees the graph of these stages, and each of them
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("no_glance")
def test_a_teacher_is_trained_and_has_to_pay(bench: Bench, write_board_checkpoint: WriteCheckpoint) -> None:
    """It is larger, of the same family, and what it taught goes on only if the validation images prefer it."""
    bench.write(TEACHER)
    text = bench.recipe.read_text().replace('keep = "always"\n', "")
    bench.recipe.write_text(text.replace("image_size = 96", "image_size = 64"))

    for command in ("plan", "prune", "distill"):
        done = bench(command)
        assert done.exit_code == 0, done.output

    teacher = load_checkpoint(bench.result("teacher-[0-9a-f]*/trained.pt"))
    parent = load_checkpoint(write_board_checkpoint("yolov8n"))
    assert (teacher.family, teacher.classes) == (parent.family, parent.classes)
    assert complexity(teacher.model, (64, 64)).macs > 2 * complexity(parent.model, (64, 64)).macs
    taught_by = json.loads(bench.result("distill-*/teacher.json").read_bytes())
    assert taught_by["teacher_sha256"] == teacher.sha256
    choice = TeacherChoice.read(bench.result("choice-*/taken.json"))
    better = "with-teacher" if choice.with_teacher > choice.without_teacher else "without-teacher"
    assert choice.taken == better
    source = bench.result(f"{'distill' if better == 'with-teacher' else 'no-teacher'}-*/trained.pt")
    assert bench.result("choice-*/trained.pt").read_bytes() == source.read_bytes()
    assert done.output.splitlines()[-1] == str(bench.result("choice-*/trained.pt"))


def test_a_teacher_that_is_no_larger_is_refused(bench: Bench) -> None:
    """Before anything is trained, with both figures."""
    bench.write(TEACHER.replace('"s"', '"n"'))

    refused = bench("plan")

    assert refused.exit_code == 2
    assert "teacher: expected a network of more operations than the parent's" in refused.output
    assert not bench.work.exists()


@pytest.mark.parametrize("network", ["yolov8n", pytest.param("yolo11n", marks=pytest.mark.long)])
def test_a_pretrained_network_is_cut_to_the_products_operations(
    network: str, write_checkpoint: WriteCheckpoint, write_board_checkpoint: WriteCheckpoint, tmp_path: Path
) -> None:
    """It has the parent's classes, weights of its own, and operations as close below as widths allow."""
    pretrained, parent = (load_checkpoint(write(network)) for write in (write_checkpoint, write_board_checkpoint))
    example = load_checkpoint(_half(parent.path, tmp_path))

    made = load_checkpoint(cut_to(pretrained, parent, example, tmp_path / "cut", (96, 96), 0))

    allowed = complexity(example.model, (96, 96)).macs
    assert 0.9 * allowed < complexity(made.model, (96, 96)).macs <= allowed
    assert made.classes == parent.classes
    first = made.model.get_parameter("model.0.conv.weight").detach()
    own = pretrained.model.get_parameter("model.0.conv.weight").detach()
    assert all(any((row == other).all() for other in own) for row in first)


def _half(checkpoint: Path, folder: Path) -> Path:
    """Write a network of half the width of a checkpoint's, and return its path."""
    original = load_checkpoint(checkpoint)
    save_checkpoint(scaled_width(original, 0.5), folder / "scaled.pt", original)
    return folder / "scaled.pt"


def test_a_family_has_its_networks_at_other_sizes(write_board_checkpoint: WriteCheckpoint) -> None:
    """With the classes of the checkpoint, and as many operations as Ultralytics' own."""
    parent = load_checkpoint(write_board_checkpoint("yolov8n"))
    larger = load_checkpoint(write_board_checkpoint("yolov8s"))

    assert complexity(at_scale(parent, "s", 0), (64, 64)) == complexity(larger.model, (64, 64))


def test_other_classes_keep_all_weights_but_those_of_the_scores(
    write_checkpoint: WriteCheckpoint, write_board_checkpoint: WriteCheckpoint
) -> None:
    """What depends on the number of classes begins anew."""
    start, classes = (
        load_checkpoint(write_checkpoint("yolov8n")),
        load_checkpoint(write_board_checkpoint("yolov8n")).classes,
    )

    model = with_classes(start, classes, 0)

    kept = {name for name, value in start.model.state_dict().items() if value.equal(model.state_dict()[name])}
    anew = start.model.state_dict().keys() - kept
    assert anew
    assert all(".cv3." in name for name in anew)
