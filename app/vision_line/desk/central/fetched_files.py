# SPDX-License-Identifier: AGPL-3.0-or-later
"""Images and clips of the boxes: fetched by their SHA-256 from the desk of the box that has them, checked, and kept.

Nothing is shown whose hash is another one. A box that did not answer is not asked again for a while, so that a page
with fifty images does not wait fifty times.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BufferedReader
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from vision_line.desk.boxes import present_boxes
from vision_line.desk.central.box_addresses import BoxAddress
from vision_line.desk.fleet_door import SCHEME
from vision_line.desk.found.file_source import FileGoneError, RecordedFile, UnreachableBoxError
from vision_line.desk.found.files_by_hash import FILES_PATH
from vision_line.errors import RunError

#: How long a box may take to answer, and after a failure is left alone; seconds.
TIMEOUT_S, LEFT_ALONE_S = 5.0, 10.0
#: A clip of a minute has some 50 MB; what is larger is none of ours.
LARGEST_MB = 512
#: What copies may take together, in MB; the longest unused go first.
KEPT_MB = 2048
#: Folder of the copies in the desk's own.
COPIES = "copies"
_CHUNK = 1 << 18
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass
class FetchedFiles:
    """Opens files of all boxes; from any thread. `token` is what the boxes' desks know the centre by."""

    directory: Path
    boxes: Mapping[str, BoxAddress]
    token: str = field(repr=False)
    kept_mb: float = KEPT_MB
    clock: Callable[[], float] = time.monotonic
    _failed_s: dict[str, tuple[float, str]] = field(init=False, repr=False, default_factory=dict)
    _lock: threading.Lock = field(init=False, repr=False, default_factory=threading.Lock)

    def open(self, wanted: RecordedFile) -> BufferedReader:
        """Return the file; raises as `FileSource.open`."""
        digest, box = wanted.sha256 or "", present_boxes().of_number(wanted.run)
        if not _HASH.fullmatch(digest):
            raise FileGoneError("its hash was never recorded, so it cannot be asked for")
        copy = self.directory / COPIES / digest[:2] / digest
        try:
            file = copy.open("rb")
        except FileNotFoundError:
            self._fetch(wanted.what, box, digest, copy)
            file = copy.open("rb")
        os.utime(copy)
        return file

    def _fetch(self, what: str, box: str, digest: str, copy: Path) -> None:
        address = self.boxes.get(box)
        if address is None or not self.token:
            raise UnreachableBoxError(f"{box} has {what}: this desk does not know where the desk of {box} is")
        failed_s, why = self._failed_s.get(box, (float("-inf"), ""))
        if self.clock() - failed_s < LEFT_ALONE_S:
            raise UnreachableBoxError(f"{box} has {what}, and cannot be reached: {why}")
        try:
            self._copy(address, digest, copy)
        except (OSError, http.client.HTTPException) as exc:
            why = _said(exc)
            self._failed_s[box] = (self.clock(), why)
            raise UnreachableBoxError(f"{box} has {what}, and cannot be reached: {why}") from exc
        self._make_room()

    def _copy(self, address: BoxAddress, digest: str, copy: Path) -> None:
        """Fetch a file and put it in its place once its hash is right."""
        with closing(_connection(address)) as connection:
            connection.request("GET", f"{FILES_PATH}/{digest}", headers={"Authorization": SCHEME + self.token})
            with connection.getresponse() as answer:
                _check_answer(answer.status, address.name)
                copy.parent.mkdir(parents=True, exist_ok=True)
                with NamedTemporaryFile(dir=copy.parent, prefix="partial-", delete=False) as partial:
                    place = Path(partial.name)
                    try:
                        _receive(answer, partial, digest)
                        place.replace(copy)
                    except BaseException:
                        place.unlink(missing_ok=True)
                        raise

    def _make_room(self) -> None:
        """Remove the copies that were not used for longest, until the others fit."""
        with self._lock:
            found = []
            for path in (self.directory / COPIES).glob("??/*"):
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue
                found.append((status.st_mtime, status.st_size, path))
            left = sum(size for _, size, _ in found) - self.kept_mb * 1e6
            for _, size, path in sorted(found)[:-1]:
                if left <= 0:
                    return
                path.unlink(missing_ok=True)
                left -= size


def _connection(address: BoxAddress) -> http.client.HTTPConnection:
    if not address.is_tls:
        return http.client.HTTPConnection(address.host, address.port, timeout=TIMEOUT_S)
    context = ssl.create_default_context(cafile=None if address.ca is None else str(address.ca))
    return http.client.HTTPSConnection(address.host, address.port, timeout=TIMEOUT_S, context=context)


def _check_answer(status: int, box: str) -> None:
    """Raise what an answer without the file means."""
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        raise FileGoneError(f"{box} has the file no more, or its desk does not serve this one: --fleet-token there")
    if status == HTTPStatus.UNAUTHORIZED:
        raise ConnectionError("its desk knows another token")
    if status != HTTPStatus.OK:
        raise ConnectionError(f"its desk answered {status}")


def _receive(answer: http.client.HTTPResponse, partial: IO[bytes], digest: str) -> None:
    """Write what comes.

    Raises:
        RunError: it is not what was recorded, or too large.
        OSError: the connection broke off.
    """
    hashed, size = hashlib.sha256(), 0
    while data := answer.read(_CHUNK):
        size += len(data)
        if size > LARGEST_MB * 1e6:
            raise RunError(f"the file has more than {LARGEST_MB} MB")
        hashed.update(data)
        partial.write(data)
    if hashed.hexdigest() != digest:
        raise RunError("what the box sent is not the file that was recorded: its SHA-256 differs")


def _said(exc: Exception) -> str:
    """Return what a failure was, in short."""
    if isinstance(exc, TimeoutError):
        return f"no answer within {TIMEOUT_S:g} s"
    if isinstance(exc, ssl.SSLError):
        return f"its certificate or TLS: {exc.reason or exc}"
    return (exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)) or type(exc).__name__
