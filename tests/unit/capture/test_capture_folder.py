# SPDX-License-Identifier: AGPL-3.0-or-later
"""The folder of a capture: nothing overwritten, everything named, never more than allowed."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from vision_line.capture.folder import MANIFEST, CapturedImage, CaptureFolder
from vision_line.capture.image_encoding import ImageEncoding, fingerprint_of
from vision_line.errors import ConfigError, RunError
from vision_line.records.annotate import Image

NOON_UTC = 1_700_000_000.25


def image(seed: int = 0) -> Image:
    """Return 40 rows of 60 pixels of noise."""
    return np.random.default_rng(seed).integers(0, 255, (40, 60, 3)).astype(np.uint8)


def entries(folder: Path) -> list[CapturedImage]:
    """Read a manifest."""
    lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
    return [CapturedImage.model_validate_json(line) for line in lines]


def test_what_is_stored_is_what_came(tmp_path: Path) -> None:
    """PNG gives every pixel back; the manifest says which camera, when, how large."""
    with closing(CaptureFolder(tmp_path / "new" / "folder", ImageEncoding(), max_bytes=10**6)) as folder:
        assert folder.store("cam-1", NOON_UTC, image())
        assert folder.store("cam-1", NOON_UTC, image(1))  # the same moment makes no clash
        assert folder.store("cam_2", NOON_UTC, image(2))

    found = entries(folder.directory)
    assert [(entry.camera, entry.width, entry.height, entry.encoding) for entry in found] == [
        ("cam-1", 60, 40, "png"),
        ("cam-1", 60, 40, "png"),
        ("cam_2", 60, 40, "png"),
    ]
    assert found[0].file == "cam-1-00001-20231114T221320Z.png"
    assert found[0].captured_utc == "2023-11-14T22:13:20.250Z"
    for number, entry in enumerate(found):
        path = folder.directory / entry.file
        assert np.array_equal(np.asarray(cv2.imread(str(path))), image(number))
        assert (entry.bytes, entry.sha256) == (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    assert sorted(path.name for path in folder.directory.iterdir()) == sorted(
        [MANIFEST, *(entry.file for entry in found)]
    )
    assert (folder.stored, folder.stored_bytes) == (3, sum(entry.bytes for entry in found))


def test_a_stated_quality_is_kept_and_said(tmp_path: Path) -> None:
    """JPEG, named with its quality."""
    smooth = cv2.resize(np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20, (64, 64))
    with closing(CaptureFolder(tmp_path, ImageEncoding(90), max_bytes=10**6)) as folder:
        folder.store("cam", NOON_UTC, np.asarray(smooth, np.uint8))

    (entry,) = entries(tmp_path)
    assert entry.encoding == "jpeg-90"
    back = cv2.imread(str(tmp_path / entry.file))
    assert back is not None
    assert np.abs(back.astype(int) - smooth).max() <= 6


def test_a_folder_with_anything_in_it_is_refused(tmp_path: Path) -> None:
    """Also one that another capture has just begun, and what is no folder."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="expected a new or an empty folder, found files"):
        CaptureFolder(tmp_path, ImageEncoding(), max_bytes=1)
    with pytest.raises(ConfigError, match="expected a new or an empty folder"):
        CaptureFolder(tmp_path / "file", ImageEncoding(), max_bytes=1)
    with (
        closing(CaptureFolder(tmp_path / "begun", ImageEncoding(), max_bytes=1)),
        pytest.raises(ConfigError, match="found files"),
    ):
        CaptureFolder(tmp_path / "begun", ImageEncoding(), max_bytes=1)


def test_the_bound_on_disk_space_holds(tmp_path: Path) -> None:
    """An image that does not fit is not written; without any the folder can be used again."""
    size = len(ImageEncoding().encode(image()))
    with closing(CaptureFolder(tmp_path, ImageEncoding(), max_bytes=size - 1)) as folder:
        assert not folder.store("cam", NOON_UTC, image())
    assert not list(tmp_path.iterdir())
    with closing(CaptureFolder(tmp_path, ImageEncoding(), max_bytes=size)) as folder:
        assert folder.store("cam", NOON_UTC, image())
        assert not folder.store("cam", NOON_UTC, image(1))
    assert len(entries(tmp_path)) == 1


def test_a_disk_that_is_almost_full_ends_the_capture(tmp_path: Path) -> None:
    """The inspection's records need that space."""
    with (
        closing(CaptureFolder(tmp_path, ImageEncoding(), max_bytes=10**6, min_free_mb=1e12)) as folder,
        pytest.raises(RunError, match="MB to stay free"),
    ):
        folder.store("cam", NOON_UTC, image())


def test_an_images_signature_is_that_of_its_luma() -> None:
    """BT.601 weights, whatever the camera's matrix was: it only tells images apart."""
    red = np.zeros((90, 160, 3), np.uint8)
    red[..., 2] = 200

    assert np.unique(fingerprint_of(red).thumbnail).tolist() == [60]
