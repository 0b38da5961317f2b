# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is in a data set, and what is legal and hardly meant: no labels, images twice, boxes too small."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from vision_line.devices.model.tasks import ModelTask
from vision_line.errors import ConfigError
from vision_line_compression.data.data_health import data_warnings, describe_data
from vision_line_compression.data.dataset import open_dataset, open_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return three splits of two different images with one label file each."""
    for number, split in enumerate(("train", "val", "test")):
        for kind in ("images", "labels"):
            (tmp_path / kind / split).mkdir(parents=True)
        for name in ("a", "b"):
            shade = 40 * number + 10 * (name == "b")
            Image.new("RGB", (32, 32), (shade,) * 3).save(tmp_path / f"images/{split}/{name}.png")
        (tmp_path / f"labels/{split}/a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    lines = [f"{split}: images/{split}" for split in ("train", "val", "test")]
    (tmp_path / "data.yaml").write_text("\n".join([*lines, "names: [open]"]))
    return tmp_path


def warnings(folder: Path, judge: str = "test") -> list[str]:
    parts = {"train": "train", "val": "val", "judge": judge}
    return list(data_warnings({name: open_dataset(folder / "data.yaml", split) for name, split in parts.items()}))


def test_an_ordinary_data_set_gives_no_warning(folder: Path) -> None:
    """Some images without defect are ordinary, and so is a judge that is the split val."""
    assert warnings(folder) == []
    assert warnings(folder, judge="val") == []


#: A class and four corners: of a box that is turned by 45 degrees, and of an upright one, a little askew.
TURNED, UPRIGHT = "0 0.5 0.2 0.8 0.5 0.5 0.8 0.2 0.5\n", "0 0.201 0.2 0.8 0.2 0.8 0.599 0.2 0.6\n"


def test_labels_of_the_other_kind_of_boxes_are_named(folder: Path) -> None:
    """Rotated boxes for a model of upright ones, and upright ones for a model that is to find angles."""
    for split, label in (("train", TURNED), ("val", UPRIGHT)):
        (folder / f"labels/{split}/a.txt").write_text(label)
    splits = {split: open_dataset(folder / "data.yaml", split) for split in ("train", "val")}
    rotated = {split: open_dataset(folder / "data.yaml", split, task=ModelTask.OBB) for split in ("train", "val")}

    assert [warning.partition(": ")[2] for warning in data_warnings(splits)] == [
        "train: 1 of 1 boxes are labelled by four corners of a rotated box, and the model is one of upright boxes: it "
        "learns the upright box around each"
    ]
    assert [warning.partition(": ")[2] for warning in data_warnings(rotated)] == [
        "val: all 1 boxes are upright, and the model is one of rotated boxes: nothing there teaches or tells how it "
        "finds angles; expected lines of a class and four corners"
    ]


def test_boxes_for_a_model_of_masks_are_named(folder: Path) -> None:
    """Polygons teach masks, and an upright rectangle only that masks fill their boxes."""
    for split, label in (("train", f"{TURNED}0 0.1 0.1 0.4 0.1 0.2 0.4\n"), ("val", f"{UPRIGHT}0 0.5 0.5 0.2 0.2\n")):
        (folder / f"labels/{split}/a.txt").write_text(label)
    splits = {s: open_dataset(folder / "data.yaml", s, task=ModelTask.SEGMENT) for s in ("train", "val")}

    assert [warning.partition(": ")[2] for warning in data_warnings(splits)] == [
        "val: 2 of 2 labels are upright boxes, and the model is one of masks: it learns masks that fill their boxes; "
        "expected lines of a class and a polygon"
    ]


def test_corners_on_one_line_are_no_mask(folder: Path) -> None:
    """The label file is named."""
    (folder / "labels/train/a.txt").write_text("0 0.1 0.1 0.2 0.2 0.3 0.3\n")

    with pytest.raises(ConfigError, match=r"a\.txt: expected polygons around objects, found corners on one line"):
        open_dataset(folder / "data.yaml", "train", task=ModelTask.SEGMENT)


def test_rotated_boxes_are_as_long_as_they_are(folder: Path) -> None:
    """Not as the upright box around them: its side is 19 pixels here."""
    (folder / "labels/train/a.txt").write_text(TURNED)
    described = list(
        describe_data({"train": open_dataset(folder / "data.yaml", "train", task=ModelTask.OBB)}, ((32, 32),))
    )

    assert described[0].endswith("14 pixels (5 to 95 %), median 14")


def test_a_split_without_any_label_is_named(folder: Path) -> None:
    """The sentence says where labels were looked for."""
    shutil.rmtree(folder / "labels" / "val")

    (warning,) = warnings(folder)

    assert "val: none of the 2 images has a label file" in warning
    assert "of all" not in warning
    assert str(folder / "labels/val/a.txt") in warning


def test_images_that_splits_share_are_counted(folder: Path) -> None:
    """By their bytes, under another name too; or as the very same file."""
    shutil.copy(folder / "images/train/b.png", folder / "images/test/other.png")
    (copied,) = warnings(folder)
    assert "train and test share 1 images" in copied
    assert "other.png" in copied

    text = (folder / "data.yaml").read_text().replace("val: images/val", "val: images/train")
    (folder / "data.yaml").write_text(text)
    assert any("train and val share 2 images" in warning for warning in warnings(folder))


def test_each_folder_without_any_label_is_named(folder: Path) -> None:
    """A second delivery whose labels were not copied would be trained as free of defects."""
    (folder / "more/images").mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (32, 32), (200 + number,) * 3).save(folder / f"more/images/{number}.png")
    text = (folder / "data.yaml").read_text().replace("train: images/train", "train: [images/train, more/images]")
    (folder / "data.yaml").write_text(text)

    (warning,) = warnings(folder)

    assert "train: none of the 3 images has a label file in" in warning
    assert str(folder / "more/labels/0.txt") in warning
    assert warning.endswith("of all 5 images 4 have none")
    (folder / "more/labels").mkdir()
    (folder / "more/labels/1.txt").write_text("")  # looked at, and free of defects
    assert warnings(folder) == []


@pytest.mark.parametrize("labels", ["0 0.5 0.5 0.2 0.2\n", ""])
def test_classes_without_boxes_are_named(folder: Path, labels: str) -> None:
    """No figure says anything of them, and every gate passes them unseen."""
    (folder / "data.yaml").write_text((folder / "data.yaml").read_text().replace("[open]", "[open, short]"))
    for split in ("train", "val"):
        (folder / f"labels/{split}/a.txt").write_text("0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.1 0.1\n")
    (folder / "labels/test/a.txt").write_text(labels)

    (warning,) = warnings(folder)

    assert f"test: has no box of {'short' if labels else 'open, short'}:" in warning


def test_calibration_images_are_compared_with_all_but_those_that_train(folder: Path, tmp_path: Path) -> None:
    """Which calibrate by default; labels are not asked for."""
    own = tmp_path / "captured"
    own.mkdir()
    shutil.copy(folder / "images/test/a.png", own / "captured.png")
    shutil.copy(folder / "images/train/a.png", own / "trained.png")
    splits = {name: open_dataset(folder / "data.yaml", name) for name in ("train", "val", "test")}

    (warning,) = data_warnings(splits, open_images(own))

    assert "calibration and test share 1 images" in warning
    assert "captured.png" in warning


def test_images_that_are_there_twice_are_named(folder: Path) -> None:
    """A contradiction first: the same image with other boxes."""
    shutil.copy(folder / "images/train/b.png", folder / "images/train/c.png")
    (same,) = warnings(folder)
    shutil.copy(folder / "images/train/a.png", folder / "images/train/d.png")
    (other,) = warnings(folder)

    assert "train: 1 image more than once, such as " in same
    assert "b.png and" in same
    assert "train: 2 images more than once, 1 of them with different boxes, such as " in other
    assert "a.png and" in other


def test_cut_off_images_are_counted(folder: Path) -> None:
    """They decode, and what is missing is grey."""
    path = folder / "images/val/c.jpg"
    Image.effect_noise((64, 64), 90).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:-200])

    (warning,) = warnings(folder)

    assert "val: the files of 1 images are cut off, such as" in warning
    assert "c.jpg" in warning


def test_names_that_are_the_models_are_said(folder: Path) -> None:
    """Nobody else says which class is which."""
    (folder / "data.yaml").write_text((folder / "data.yaml").read_text().replace("names: [open]", "nc: 1"))
    splits = {name: open_dataset(folder / "data.yaml", name).named_as(("scratch",)) for name in ("train", "val")}

    (warning,) = data_warnings(splits)

    assert "names: are missing, so the model's are taken in its order: scratch" in warning


def test_boxes_are_measured_at_the_input(folder: Path) -> None:
    """In each image at the shape that suits it; a box of less than a cell is hardly seen."""
    splits = {name: open_dataset(folder / "data.yaml", name) for name in ("train", "val", "test")}

    large = list(describe_data(splits, ((320, 320), (160, 320))))
    small = list(data_warnings(splits, shapes_hw=((32, 32),)))

    assert large[0] == (
        "train: 2 images, 1 without objects; 1 open; longer sides at the input: 64 to 64 pixels (5 to 95 %), median 64"
    )
    assert len(large) == len(small) == 3
    assert "val: 1 of 1 boxes are smaller than 8 pixels at the input of 32 x 32" in small[1]
    assert list(data_warnings(splits, shapes_hw=((320, 320),))) == []


def test_a_split_without_boxes_has_no_sizes(folder: Path) -> None:
    """And no warning of small ones."""
    (folder / "labels/test/a.txt").write_text("")

    (line,) = describe_data({"judge": open_dataset(folder / "data.yaml", "test")}, ((32, 32),))

    assert line == "test: 2 images, 2 without objects; 0 open"
