# SPDX-License-Identifier: AGPL-3.0-or-later
"""A case as one ZIP archive, made while it is sent: its memory does not grow with clips."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

from vision_line.desk.cases.case_contents import CaseContents
from vision_line.desk.cases.case_documents import documents
from vision_line.desk.cases.case_files import FileFate, WantedFile, kept, opened
from vision_line.desk.cases.record_check import CheckedRecord
from vision_line.desk.cases.zip_stream import ZipStream


def archive_name(number: int) -> str:
    """Return what an archive, without its ending, and the one folder in it are called."""
    return f"case-{number}"


def archive(contents: CaseContents, checked: CheckedRecord) -> Iterator[bytes]:
    """Yield the bytes of the archive: the files first, then all that is to say of them.

    Raises:
        RunError: a file was changed while it was copied.
        OSError: a file can no longer be read while it is copied.
    """
    root, stream = archive_name(contents.case.number), ZipStream()
    fates = yield from _all_copied(stream, root, contents)
    for path, data in documents(contents, fates, checked):
        yield from stream.text(f"{root}/{path}", data, contents.made_utc)
    sums = "".join(f"{sha256}  {path.removeprefix(f'{root}/')}\n" for path, sha256 in stream.sums)
    yield from stream.text(f"{root}/SHA256SUMS", sums, contents.made_utc)
    yield from stream.end()


def _all_copied(stream: ZipStream, root: str, contents: CaseContents) -> Generator[bytes, None, list[FileFate]]:
    """Add all files that may be, and return what became of each."""
    fates: dict[str, FileFate] = {}
    for wanted in contents.files:
        fates[wanted.place] = yield from _copied(stream, root, contents.directory, wanted)
    return list(fates.values())


def _copied(stream: ZipStream, root: str, directory: Path, wanted: WantedFile) -> Generator[bytes, None, FileFate]:
    """Add a file where it may be, and return what became of it."""
    found = opened(directory, wanted)
    if isinstance(found, FileFate):
        return found
    with found.file:
        yield from stream.file(f"{root}/{wanted.place}", found.file, found.size, found.sha256, wanted.at_utc)
    return kept(wanted, found.sha256)
