# SPDX-License-Identifier: AGPL-3.0-or-later
"""The output folder of a capture: images and a manifest, within a size limit; nothing is overwritten."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict

from vision_line.capture.image_encoding import ImageEncoding
from vision_line.documented import Documented
from vision_line.errors import ConfigError, RunError
from vision_line.records.annotate import Image
from vision_line.records.directory import free_mb, sync_directory, write_durably

MANIFEST = "manifest.jsonl"
_PARTIAL = ".partial"


class CapturedImage(Documented, BaseModel):
    """One line of `manifest.jsonl`: a stored image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    """Name of the image file in the folder."""
    camera: str
    """The camera's `name` in streams.toml."""
    captured_utc: str
    """When the frame arrived, UTC by this machine's clock: `2026-11-24T10:15:00.123Z`."""
    width: int
    """Width, pixels."""
    height: int
    """Height, pixels."""
    encoding: str
    """`png` (lossless), or `jpeg-` and its quality."""
    bytes: int
    """Size of the file."""
    sha256: str
    """Hash of the file."""


class CaptureFolder:
    """Owns a new or empty folder until `close`; used by one thread at a time.

    An image is durable before its line, and a line before the next image, so that a killed capture leaves a usable
    folder.
    """

    def __init__(self, directory: Path, encoding: ImageEncoding, *, max_bytes: int, min_free_mb: float = 0.0) -> None:
        """Make `directory`; stop at `max_bytes` of images, or when the disk has less than `min_free_mb` left.

        Raises:
            ConfigError: `directory` is not empty, or not a directory.
            RunError: it cannot be written.
        """
        self.directory = directory
        self.counts: Counter[str] = Counter()  # stored images, by camera
        self.stored_bytes = 0
        self._encoding = encoding
        self._max_bytes = max_bytes
        self._min_free_mb = min_free_mb
        self._manifest = _open_manifest(directory)

    @property
    def stored(self) -> int:
        """Number of stored images."""
        return self.counts.total()

    def store(self, camera: str, captured_utc: float, image: Image) -> bool:
        """Store a (height, width, 3) BGR image; False where the limit leaves no room for it.

        Raises:
            RunError: the disk is almost full, or cannot be written.
        """
        data = self._encoding.encode(image)
        if self.stored_bytes + len(data) > self._max_bytes:
            return False
        moment = datetime.fromtimestamp(captured_utc, UTC)
        entry = CapturedImage(
            file=f"{camera}-{self.counts[camera] + 1:05d}-{moment:%Y%m%dT%H%M%SZ}{self._encoding.suffix}",
            camera=camera,
            captured_utc=moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            width=image.shape[1],
            height=image.shape[0],
            encoding=str(self._encoding),
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
        self._write(entry, data)
        self.counts[camera] += 1
        self.stored_bytes += len(data)
        return True

    def close(self) -> None:
        """Close the manifest, and remove it if it is empty, so that the folder can be used again."""
        self._manifest.close()
        if not self.stored:
            (self.directory / MANIFEST).unlink(missing_ok=True)

    def _write(self, entry: CapturedImage, data: bytes) -> None:
        try:
            left_mb = free_mb(self.directory) - len(data) / 1e6
            if left_mb < self._min_free_mb:
                raise RunError(
                    f"{self.directory}: expected {self._min_free_mb:g} MB to stay free on the disk, found "
                    f"{left_mb:.0f} MB; {self.stored} images are stored"
                )
            write_durably(self.directory / entry.file, data, self.directory / _PARTIAL)
            sync_directory(self.directory)
            self._manifest.write(f"{entry.model_dump_json()}\n".encode())
            self._manifest.flush()
            os.fsync(self._manifest.fileno())
        except OSError as exc:
            raise RunError(
                f"{self.directory}: cannot be written: {exc.strerror}; {self.stored} images are stored"
            ) from exc


def _open_manifest(directory: Path) -> BinaryIO:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise ConfigError(f"{directory}: expected a new or an empty folder, found files in it")
        return (directory / MANIFEST).open("xb")  # exclusive: a second capture into the same folder fails
    except FileExistsError as exc:
        raise ConfigError(f"{directory}: expected a new or an empty folder, found {exc.filename}") from exc
    except OSError as exc:
        raise RunError(f"{directory}: cannot be written: {exc.strerror}") from exc
