# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reading YOLO data sets: what is accepted, and that every fault is named at once."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.errors import ConfigError
from vision_line_compression.data.dataset import (
    MOST_FAULTS,
    SUFFIXES,
    has_split,
    label_path,
    open_dataset,
    open_images,
    read_image,
)


def write_image(path: Path, size_wh: tuple[int, int] = (100, 50)) -> None:
    """Write a grey image and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size_wh, (90, 90, 90)).save(path)


def write_labels(root: Path, name: str, text: str) -> None:
    """Write the label file of an image of the split `test`."""
    path = root / "labels" / "test" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_yaml(root: Path, text: str = "test: images/test\nnames: [open, short]\n") -> Path:
    """Write data.yaml."""
    path = root / "data.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_boxes_are_in_pixels(tmp_path: Path) -> None:
    """A line `class cx cy w h` becomes corners in pixels of its image; repeated lines count once."""
    write_image(tmp_path / "images/test/a.png")
    write_labels(tmp_path, "a", "1 0.5 0.5 0.2 0.4\n\n1 0.5 0.5 0.2 0.4\n0 0.9 0.5 0.2 1.0\n")

    (image,) = open_dataset(write_yaml(tmp_path), "test").images

    assert image.size_wh == (100, 50)
    assert image.class_id.tolist() == [1, 0]
    np.testing.assert_allclose(image.xyxy, [[40, 15, 60, 35], [80, 0, 100, 50]], atol=1e-4)


def test_the_layout_of_roboflow_is_read_as_ultralytics_reads_it(tmp_path: Path) -> None:
    """Its data.yaml points one folder too high; where that folder is there, it is meant."""
    for split in ("train", "valid", "test"):
        write_image(tmp_path / f"boards/{split}/images/{split}.png")
    text = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: [open]\n"
    data_yaml = write_yaml(tmp_path / "boards", text)

    for split, folder in {"train": "train", "val": "valid", "test": "test"}.items():
        (image,) = open_dataset(data_yaml, split).images
        assert image.path.resolve() == tmp_path / f"boards/{folder}/images/{folder}.png"

    write_image(tmp_path / "train/images/above.png")
    (image,) = open_dataset(data_yaml, "train").images
    assert image.path.name == "above.png"


def test_validation_is_another_word_for_val(tmp_path: Path) -> None:
    """As in Ultralytics."""
    write_image(tmp_path / "images/test/a.png")

    data_yaml = write_yaml(tmp_path, "validation: images/test\nnames: [open]\n")

    assert len(open_dataset(data_yaml, "val").images) == 1
    assert has_split(data_yaml, "val")  # so that it is not left out where it is added to another set
    assert not has_split(data_yaml, "train")


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("nc: 2\n", ("class_0", "class_1")),
        ("nc: '2'\nnames:\n", ("class_0", "class_1")),
        ("nc: 2.0\nnames: {'0': open, '1': short}\n", ("open", "short")),
        ("names: {1: short, 0: open}\nchannels: 1\n", ("open", "short")),
    ],
)
def test_classes_are_named_in_every_way_of_ultralytics(tmp_path: Path, text: str, classes: tuple[str, ...]) -> None:
    """By their number alone, with numbers in quotes, in any order."""
    write_image(tmp_path / "images/test/a.png")
    write_labels(tmp_path, "a", "1 0.5 0.5 0.2 0.4\n")

    dataset = open_dataset(write_yaml(tmp_path, f"test: images/test\n{text}"), "test")

    assert dataset.classes == classes
    assert dataset.is_named == ("open" in classes)
    named = dataset.named_as(("a", "b"))
    assert named.classes == (classes if dataset.is_named else ("a", "b"))
    assert dataset.named_as(("a", "b", "c")) is dataset  # others, which are refused where they are compared


def test_faulty_names_are_one_fault(tmp_path: Path) -> None:
    """Not one more for each label, whose class cannot be looked up then."""
    write_image(tmp_path / "images/test/a.png")
    write_labels(tmp_path, "a", "1 0.5 0.5 0.2 0.4\n0 0.5 0.5 0.2 0.4\n")

    with pytest.raises(ConfigError) as caught:
        open_dataset(write_yaml(tmp_path, "test: images/test\n"), "test")

    assert len(caught.value.problems) == 1
    assert "names: expected a list or numbers from 0 with names, found None" in caught.value.problems[0]


def test_path_may_begin_where_the_command_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in Ultralytics, and so may the lines of a list; what lies beside data.yaml comes first."""
    write_image(tmp_path / "work/boards/images/test/a.png")
    write_image(tmp_path / "work/boards/more/b.png")
    (tmp_path / "work/boards/some.txt").write_text("boards/more/b.png\n./more/b.png\nmore/b.png\n", encoding="utf-8")
    data_yaml = write_yaml(tmp_path, "path: boards\ntest: [images/test, some.txt]\nnames: [open]\n")
    monkeypatch.chdir(tmp_path / "work")

    assert [image.path.resolve().name for image in open_dataset(data_yaml, "test").images] == ["a.png", "b.png"]

    write_image(tmp_path / "boards/images/test/beside.png")
    (tmp_path / "boards/some.txt").write_text("", encoding="utf-8")
    assert [image.path.name for image in open_dataset(data_yaml, "test").images] == ["beside.png"]


def test_path_may_begin_in_the_folder_of_ultralytics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its own data sets lie."""
    write_image(tmp_path / "sets/boards/images/test/a.png")
    monkeypatch.setattr("ultralytics.utils.DATASETS_DIR", tmp_path / "sets")

    dataset = open_dataset(write_yaml(tmp_path, "path: boards\ntest: images/test\nnames: [open]\n"), "test")

    assert [image.path.name for image in dataset.images] == ["a.png"]
    with pytest.raises(ConfigError, match=str(tmp_path / "nowhere")):
        open_dataset(write_yaml(tmp_path, "path: nowhere\ntest: images/test\nnames: [open]\n"), "test")


def test_images_that_no_inspection_reads_are_not_left_out_silently(tmp_path: Path) -> None:
    """Ultralytics would train on them."""
    write_image(tmp_path / "images/test/a.png")
    (tmp_path / "images/test/b.HEIC").write_bytes(b"")

    with pytest.raises(ConfigError, match=r"found 1 images of kinds that no inspection reads, such as .*b\.HEIC"):
        open_dataset(write_yaml(tmp_path), "test")


def test_a_cut_off_image_is_known(tmp_path: Path) -> None:
    """It decodes without a word; what was appended behind the end does no harm."""
    for name in ("whole", "cut", "longer"):
        write_image(tmp_path / f"images/test/{name}.jpg")
    cut, longer = tmp_path / "images/test/cut.jpg", tmp_path / "images/test/longer.jpg"
    cut.write_bytes(cut.read_bytes()[:-40])
    longer.write_bytes(longer.read_bytes() + bytes(100))

    images = open_dataset(write_yaml(tmp_path), "test").images

    assert {image.path.stem: image.cut_off for image in images} == {"cut": True, "longer": False, "whole": False}
    assert all(read_image(image).shape == (50, 100, 3) for image in images)


def test_polygon_counts_as_its_bounding_box(tmp_path: Path) -> None:
    """A segment is as good as a box."""
    write_image(tmp_path / "images/test/a.png")
    write_labels(tmp_path, "a", "0 0.1 0.2 0.5 0.8 0.3 0.4\n")

    (image,) = open_dataset(write_yaml(tmp_path), "test").images

    np.testing.assert_allclose(image.xyxy, [[10, 10, 50, 40]], atol=1e-4)


def test_image_without_label_file_is_clean(tmp_path: Path) -> None:
    """A defect-free image needs no label file."""
    write_image(tmp_path / "images/test/a.png")

    (image,) = open_dataset(write_yaml(tmp_path), "test").images

    assert image.xyxy.shape == (0, 4)


def test_split_may_be_folders_and_lists(tmp_path: Path) -> None:
    """A split is a folder, a list file or several of them, relative to `path`; images come in order, once."""
    write_image(tmp_path / "set/images/test/b.png")
    write_image(tmp_path / "set/images/clean/a.png")
    (tmp_path / "set/more.txt").write_text("./images/test/b.png\n", encoding="utf-8")
    text = "path: set\ntest: [images/test, images/clean, more.txt]\nnames: {0: open}\nnc: 1\n"

    dataset = open_dataset(write_yaml(tmp_path, text), "test")

    assert [image.path.name for image in dataset.images] == ["a.png", "b.png"]


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_usual_formats_are_read(tmp_path: Path, suffix: str) -> None:
    """Every suffix that counts as an image can be read."""
    write_image(tmp_path / f"images/test/a{suffix}", (37, 21))

    (image,) = open_dataset(write_yaml(tmp_path), "test").images

    assert image.size_wh == (37, 21)


def test_turned_image_has_the_size_that_is_seen(tmp_path: Path) -> None:
    """A camera's orientation tag swaps width and height."""
    path = tmp_path / "images/test/a.jpg"
    path.parent.mkdir(parents=True)
    stored = Image.new("RGB", (100, 50))
    exif = stored.getexif()
    exif[0x0112] = 6
    stored.save(path, exif=exif)

    (image,) = open_dataset(write_yaml(tmp_path), "test").images

    assert image.size_wh == (50, 100)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_read_as_they_are_inspected(tmp_path: Path, suffix: str, orientation: int) -> None:
    """Compression and the application turn an image the same way, mirrored ones too."""
    path = tmp_path / f"images/test/a{suffix}"
    path.parent.mkdir(parents=True)
    blocks = np.random.default_rng(1).integers(0, 255, (3, 5, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.kron(blocks, np.ones((16, 16, 1), np.uint8))).save(path, exif=exif, quality=98)
    (image,) = open_dataset(write_yaml(tmp_path), "test").images

    with av.open(io.BytesIO(path.read_bytes()), "r", format="image2") as container:
        stream = container.streams.video[0]
        (inspected,) = CpuDecoder("a", stream).decode(next(container.demux(stream)))

    read = read_image(image)
    assert inspected.size_wh == image.size_wh
    assert np.abs(inspected.data.to_ndarray(format="bgr24").astype(int) - read).mean() < 6


def test_rounding_of_labelling_tools_is_cut_off(tmp_path: Path) -> None:
    """A hundredth outside the image, as Ultralytics takes it, and a byte order mark, which Windows' editors write."""
    write_image(tmp_path / "images/test/a.png")
    write_labels(tmp_path, "a", "\ufeff0 0.95 0.5 0.12 1.005\n1 -0.005 0.2 0.5 0.8 0.3 0.4\n")

    (image,) = open_dataset(write_yaml(tmp_path, "\ufefftest: images/test\nnames: [open, short]\n"), "test").images

    np.testing.assert_allclose(image.xyxy, [[89, 0, 100, 50], [0, 10, 50, 40]], atol=1e-4)


def test_a_list_that_is_no_text_is_a_fault(tmp_path: Path) -> None:
    """With its name, beside all others."""
    (tmp_path / "some.txt").write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match=r"some\.txt: cannot be read"):
        open_dataset(write_yaml(tmp_path, "test: some.txt\nnames: [open]\n"), "test")


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    """One error names all faults of the labels and images, each with file and line."""
    for name in "abcd":
        write_image(tmp_path / f"images/test/{name}.png")
    (tmp_path / "images/test/e.png").write_bytes(b"nothing")
    (tmp_path / "images/test/f.jpg").write_bytes(b"\xff\xd8\xff")
    write_labels(tmp_path, "a", "7 0.5 0.5 0.1 0.1\n")
    write_labels(tmp_path, "b", "0 0.5 0.5 0.1\n0 1.5 0.5 0.1 0.1\n")
    write_labels(tmp_path, "c", "0 0.5 0.5 nan 0.1\n")
    write_labels(tmp_path, "d", "0 0.5 0.5 0.0 0.1\nzero 0 0 0 0\n0 0.1 0.2 0.1 0.8 0.1 0.4\n0 1.01 0.5 0.01 0.1\n")

    with pytest.raises(ConfigError) as caught:
        open_dataset(write_yaml(tmp_path, "test: images/test\nnames: [open, short]\nnc: 3\n"), "test")

    assert [problem.removeprefix(f"{tmp_path}/") for problem in caught.value.problems] == [
        "data.yaml: nc: expected 2 as in names, found 3",
        "labels/test/a.txt:1: class: expected 0 to 1, found 7",
        "labels/test/b.txt:1: expected a class and 4 shares or a polygon, found 4 numbers",
        "labels/test/b.txt:2: expected shares from 0 to 1, found '0 1.5 0.5 0.1 0.1'",
        "labels/test/c.txt:1: expected shares from 0 to 1, found '0 0.5 0.5 nan 0.1'",
        "labels/test/d.txt:1: expected a box, found one without extent",
        "labels/test/d.txt:2: expected numbers, found 'zero 0 0 0 0'",
        "labels/test/d.txt:3: expected a box, found one without extent",
        "labels/test/d.txt:4: expected a box, found one without extent",
        "images/test/e.png: no image: not a JPEG, PNG, BMP, TIFF or WebP file",
        "images/test/f.jpg: no image: not identified by this driver",
    ]


def test_faults_are_bounded(tmp_path: Path) -> None:
    """A data set of another format does not print a line for each of its files."""
    write_image(tmp_path / "images/test/a.png")
    write_labels(tmp_path, "a", "x y\n" * (MOST_FAULTS + 5))

    with pytest.raises(ConfigError) as caught:
        open_dataset(write_yaml(tmp_path), "test")

    assert len(caught.value.problems) == MOST_FAULTS + 1
    assert caught.value.problems[-1] == "... and 5 more"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("names: [a]\n", "test: expected a folder or a list of folders, found None"),
        ("test: nowhere\nnames: [a]\n", "test: expected a folder or a .txt list, found nothing"),
        ("test: images/test\nnames: {1: a}\n", "names: expected a list or numbers from 0"),
        ("test: images/test\nnc: 0\n", "names: expected a list or numbers from 0"),
        ("test: images/test\nnames: [a]\nchannels: 10\n", "channels: an inspection has 3"),
        ("test: images/test\nnames: [a]\nkpt_shape: [17, 2]\n", "kpt_shape: is a data set for the task .pose."),
        ("test: .\nnames: [a]\n", "test: expected images, found none"),
        ("- a\n", "expected the keys names, train, val, test, found list"),
        ("a: [\n", "no YAML"),
    ],
)
def test_faulty_description_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    """A data.yaml that cannot be used says why."""
    (tmp_path / "images/test").mkdir(parents=True)

    with pytest.raises(ConfigError, match=expected):
        open_dataset(write_yaml(tmp_path, text), "test")


def test_missing_description_is_refused(tmp_path: Path) -> None:
    """A missing data.yaml is named."""
    with pytest.raises(ConfigError, match=r"data\.yaml: cannot be read"):
        open_dataset(tmp_path / "data.yaml", "test")


def test_subset_is_spread_over_the_split(tmp_path: Path) -> None:
    """A subset holds the first, the last and images evenly between."""
    for number in range(9):
        write_image(tmp_path / f"images/test/{number}.png")
    dataset = open_dataset(write_yaml(tmp_path), "test")

    assert [image.path.stem for image in dataset.subset(3).images] == ["0", "4", "8"]
    assert dataset.subset(20) is dataset


def test_hash_follows_the_content(tmp_path: Path) -> None:
    """The same data at another place has the same hash, a moved box another."""
    hashes = []
    for place, label in (("one", "0 0.5 0.5 0.1 0.1"), ("two", "0 0.5 0.5 0.1 0.1"), ("three", "0 0.5 0.4 0.1 0.1")):
        write_image(tmp_path / place / "images/test/a.png")
        write_labels(tmp_path / place, "a", label)
        hashes.append(open_dataset(write_yaml(tmp_path / place), "test").sha256())

    assert hashes[0] == hashes[1] != hashes[2]


def test_label_path_replaces_the_last_images_folder() -> None:
    """Only the innermost folder `images` is exchanged."""
    assert label_path(Path("/images/set/images/test/a.jpg")) == Path("/images/set/labels/test/a.txt")


def test_a_folder_of_images_is_read_without_labels(tmp_path: Path) -> None:
    """Folders in it too, other files ignored; the hash is of the content."""
    write_image(tmp_path / "one" / "day" / "a.png", (64, 48))
    write_image(tmp_path / "one" / "b.jpg")
    (tmp_path / "one" / "manifest.jsonl").write_text("{}", encoding="utf-8")
    (tmp_path / "one").rename(tmp_path / "two")

    found = open_images(tmp_path / "two")

    assert [(image.path.name, image.size_wh, len(image.xyxy)) for image in found.images] == [
        ("b.jpg", (100, 50), 0),
        ("a.png", (64, 48), 0),
    ]
    before = found.sha256()
    (tmp_path / "two").rename(tmp_path / "three")
    assert open_images(tmp_path / "three").sha256() == before


def test_a_folder_without_good_images_is_refused(tmp_path: Path) -> None:
    """Missing, empty, or with a file that only has an image's name."""
    for folder in (tmp_path / "missing", tmp_path):
        with pytest.raises(ConfigError, match="expected a folder with images, found none"):
            open_images(folder)
    write_image(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no image", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"b\.png: no image"):
        open_images(tmp_path)
