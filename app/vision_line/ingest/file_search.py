# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a `file:` URL names: one video, or the images of a folder or glob."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from vision_line.errors import SourceError, SourceErrorCode
from vision_line.ingest.error_mapping import file_error

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def file_path(url: str) -> str:
    """Return the path or glob pattern in `file:PATH` or `file://PATH`; it is taken as it stands, without unquoting."""
    path = url.split(":", 1)[1]
    return path.removeprefix("//")


def find_images(camera: str, path: str) -> list[str] | None:
    """Return the images that `path` names, in the order of their names; None where it names one video.

    Only regular files count: a pipe or a device could be waited for without end.

    Raises:
        SourceError: there is nothing of that name, or no image among it.
    """
    try:
        if Path(path).is_file() and Path(path).suffix.lower() not in IMAGE_SUFFIXES:
            return None
        found = [entry for entry in _candidates(path) if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()]
    except OSError as exc:
        raise file_error(camera, path, exc) from exc
    images = sorted(str(entry) for entry in found)
    if not images and not Path(path).is_dir() and not glob.has_magic(path):
        raise SourceError(camera, SourceErrorCode.NOT_FOUND, f"no file {path!r}")
    if not images:
        raise SourceError(camera, SourceErrorCode.NOT_FOUND, f"no images at {path!r}")
    return images


def _candidates(path: str) -> Iterable[Path]:
    named = Path(path)
    if named.is_dir():
        return named.iterdir()
    if named.exists():
        return [named]
    return _matching(named) if glob.has_magic(path) else []


def _matching(pattern: Path) -> Iterable[Path]:
    """Yield what matches, hidden files left out; `**` follows no links, so that a loop of links has an end."""
    fixed = next(index for index, part in enumerate(pattern.parts) if glob.has_magic(part))
    wild = "/".join(pattern.parts[fixed:])
    for entry in Path(*pattern.parts[:fixed]).glob(f"{wild}/*" if wild.endswith("**") else wild):
        if not entry.name.startswith("."):
            yield entry
