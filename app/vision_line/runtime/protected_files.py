# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a command's outputs must leave alone: the records, what the command reads, and each other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from vision_line.config.load import LoadedConfig
from vision_line.config.models import Stream
from vision_line.devices.model.bundle import BUNDLE_FILE
from vision_line.devices.model.model import SHIPPED_BUNDLE
from vision_line.errors import ConfigError, SourceError
from vision_line.feed.protocol import SOCKET_NAME
from vision_line.ingest.file_search import file_path, find_images
from vision_line.output_files import place_of
from vision_line.parts import parts_file
from vision_line.records.directory import LOCK_NAME
from vision_line.records.file_tables import FOLDERS
from vision_line.records.schema import FILE_NAME
from vision_line.reviews import reviews_file
from vision_line.runtime.options import RunOptions, model_path
from vision_line.runtime.run_models import recipe_model_path
from vision_line.screens.logs import BACKUPS, LOG_NAME

#: What SQLite keeps beside its file; a file that lost one may have lost records.
_COMPANIONS = ("-wal", "-shm", "-journal")

#: The option or key as it was given, for a message, and a path that is written for it.
Output = tuple[str, Path | None]


@dataclass(frozen=True, slots=True)
class ProtectedFile:
    """A file, or a folder with all that is in it, that no output may replace; `what` it is in a message."""

    path: Path
    what: str


def kept_records(directory: Path) -> Iterator[ProtectedFile]:
    """Yield what a run keeps in its record directory; other files may lie there."""
    for ending in ("", *_COMPANIONS):
        yield ProtectedFile(directory / f"{FILE_NAME}{ending}", "the record file")
        yield ProtectedFile(directory / f"{parts_file.FILE_NAME}{ending}", "the parts")
    yield ProtectedFile(directory / reviews_file.FILE_NAME, "what people decided")
    for folder in FOLDERS:
        yield ProtectedFile(directory / folder, f"the {folder}")
    yield ProtectedFile(directory / LOCK_NAME, "the records' lock")
    yield ProtectedFile(directory / SOCKET_NAME, "the live feed's socket")
    for ending in ("", *(f".{number}" for number in range(1, BACKUPS + 1))):
        yield ProtectedFile(directory / f"{LOG_NAME}{ending}", "the log")


def kept_model(path: Path | None) -> Iterator[ProtectedFile]:
    """Yield the files of the model that is asked for, None for the shipped one."""
    path = SHIPPED_BUNDLE if path is None else path
    folder = path.parent if path.name == BUNDLE_FILE else path
    if folder.is_dir():
        names = [folder / BUNDLE_FILE, folder / "engines", *folder.glob("*.onnx"), *folder.glob("*.npz")]
        yield from (ProtectedFile(name, "the model") for name in names)
    else:
        yield ProtectedFile(path, "the model")


def kept_by_run(options: RunOptions, loaded: LoadedConfig) -> Iterator[ProtectedFile]:
    """Yield all that a run reads, and its records."""
    yield ProtectedFile(loaded.path, "the streams file")
    yield from kept_records(options.record or Path(loaded.config.record.directory))
    yield from kept_model(model_path(options, loaded))
    for recipe in loaded.config.recipe:
        if (path := recipe_model_path(loaded, recipe)) is not None:
            yield from kept_model(path)
    if (signing_key := loaded.config.record.signing_key) is not None:
        yield ProtectedFile(Path(signing_key), "record.signing_key")
    for stream in loaded.config.stream:
        if stream.tls_ca_file is not None:
            yield ProtectedFile(Path(stream.tls_ca_file), f"stream[{stream.name}].tls_ca_file")
        if not stream.is_live:
            yield from _kept_source(stream)


def file_outputs(loaded: LoadedConfig) -> dict[str, Path]:
    """Return the files to be written that keys of the configuration name, by those keys."""
    svg, simulator = loaded.config.dashboard.svg, loaded.config.simulator
    sent_log = None if simulator is None else simulator.sent_log
    named = {"dashboard.svg": svg, "simulator.sent_log": sent_log}
    return {key: Path(path) for key, path in named.items() if path is not None}


def check_apart(outputs: Iterable[Output], kept: Iterable[ProtectedFile]) -> None:
    """Refuse outputs, files or folders, that would replace what is kept or each other, by whatever path or link.

    Raises:
        ConfigError: all of them.
    """
    if found := overwritten(outputs, kept):
        raise ConfigError(*found)


def overwritten(outputs: Iterable[Output], kept: Iterable[ProtectedFile]) -> list[str]:
    """Return a sentence for each output that would replace what is kept, or another output."""
    placed = [(said, target) for said, path in outputs if path is not None and (target := _target(path))]
    kept = list(kept)
    found = [(said, entry.what) for said, target in placed for entry in kept if _would_replace(target, entry.path)]
    found += [(two, one) for (one, first), (two, second) in combinations(placed, 2) if is_same(first, second)]
    return list(dict.fromkeys(f"{said}: would replace {what}, expected another path" for said, what in found))


def is_same(one: Path, other: Path) -> bool:
    """Whether two resolved paths lead to one place, also where it is not there yet."""
    with suppress(OSError):  # one of them is not there, or must not be looked at: its folder decides
        return one.samefile(other)
    return one == other or (one.name == other.name and one != one.parent and is_same(one.parent, other.parent))


def _target(path: Path) -> Path | None:
    """Return where links lead; None for what is written through and for what `check_outputs` refuses."""
    try:
        place = place_of(path)
    except IsADirectoryError:
        return path.resolve()
    except OSError:
        return None
    return place.target if place.replaced else None


def _would_replace(target: Path, kept: Path) -> bool:
    kept = Path(os.path.realpath(kept))
    places = (target,) if kept.is_file() else (target, *target.parents)
    return any(is_same(place, kept) for place in places) or _is_linked_in(target, kept)


def _is_linked_in(target: Path, folder: Path) -> bool:
    """Whether `target` is another name of a file in `folder`; only files that have several are looked for."""
    if not target.is_file() or target.stat().st_nlink == 1:
        return False
    return any(is_same(target, Path(where, name)) for where, _, names in os.walk(folder) for name in names)


def _kept_source(stream: Stream) -> Iterator[ProtectedFile]:
    what = f"stream[{stream.name}].url"
    path = file_path(stream.url.get_secret_value())
    if not Path(path).is_dir():  # a folder may take other files than images
        yield ProtectedFile(Path(path), what)
    with suppress(SourceError):  # nothing there: the run says so, and there is nothing to lose
        yield from (ProtectedFile(Path(image), what) for image in find_images(stream.name, path) or ())
