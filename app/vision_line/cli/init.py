# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line init`: cameras that are given, asked for or found become a `streams.toml`, each examined first."""

from __future__ import annotations

import os
import shlex
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import typer

from vision_line.capture.image_encoding import ImageEncoding
from vision_line.cli import questions
from vision_line.cli.check import AT_ONCE
from vision_line.cli.init_cameras import InitOptions, Inquiry, sort_arguments
from vision_line.commissioning.advice import Advice, advise, described
from vision_line.commissioning.camera_names import camera_names
from vision_line.commissioning.camera_url import SecretBook, login_of, with_login, without_secrets
from vision_line.commissioning.secret_files import FOLDER, holds_other, named_elsewhere, write_secrets
from vision_line.commissioning.streams_file import StreamEntry, streams_text
from vision_line.config.load import PLACEHOLDER, checked_config
from vision_line.config.models import Stream
from vision_line.config.toml import TomlFile
from vision_line.devices.selection import decoder_opener
from vision_line.errors import ConfigError, ExitCode, SourceError, SourceErrorCode
from vision_line.frames import Frame
from vision_line.ingest.probe import Examination, examine
from vision_line.output_files import open_output, said_of, write_output
from vision_line.records.annotate import bgr_of
from vision_line.runtime.output_check import check_outputs
from vision_line.words import counted, one_line

_SNAPSHOT_QUALITY = 90


def write_first_file(options: InitOptions) -> ExitCode:
    """Write a `streams.toml`; CONFIG where a camera in it cannot be opened, or has to be set otherwise to be inspected.

    Raises:
        ConfigError: nothing was written: no camera, a wrong URL, or a file that is there already.
        RunError: a file cannot be written.
    """
    given = sort_arguments(options)
    if given.file.exists() and not options.force:
        raise ConfigError(f"{given.file} is there already: name another file, or replace it with --force")
    check_outputs({"FILE": given.file}, {"--snapshots": options.snapshots})
    inquiry = Inquiry(options, is_asking=questions.can_ask() and options.listed != Path("-"))
    draft = _Draft(given.file, inquiry.urls(given), options)
    draft.check()
    if options.probe:
        _examine(draft, inquiry)
    draft.write()
    for line in draft.last_words():
        typer.echo(line)
    return ExitCode.CONFIG if draft.lost or inquiry.left_out else ExitCode.DONE


def _examine(draft: _Draft, inquiry: Inquiry) -> None:
    """Open every camera; one that wants another login gets it from whoever can be asked."""
    left = list(range(len(draft.urls)))
    for is_last in (*[False] * (questions.MOST_TRIES - 1), True):
        typer.echo(f"opening {counted(len(left), 'camera')} ...")
        draft.examine(left)
        left = [] if is_last else _with_new_login(draft, inquiry, left)
        if not left:
            return


def _with_new_login(draft: _Draft, inquiry: Inquiry, tried: list[int]) -> list[int]:
    """Return the cameras of those tried that have another login now; who shared a wrong one shares the new one."""
    refused = [index for index in tried if draft.examined[index].found.code is SourceErrorCode.AUTH_FAILED]
    sharing: dict[str, list[int]] = {}
    for index in refused:
        sharing.setdefault(login_of(draft.urls[index]), []).append(index)
    return [index for group in sharing.values() if draft.set_login(group, inquiry) for index in group]


@dataclass(slots=True)
class _Draft:
    """A `streams.toml` that is not written yet. `urls` have their secrets; indices are those of its cameras."""

    file: Path
    urls: list[str] = field(repr=False)
    options: InitOptions
    examined: dict[int, Examination] = field(default_factory=dict)
    streams: tuple[Stream, ...] = ()
    entries: list[StreamEntry] = field(default_factory=list)
    book: SecretBook = field(init=False)

    @property
    def secrets(self) -> Path:
        """The folder of its secrets."""
        return self.file.absolute().parent / FOLDER

    @property
    def lost(self) -> list[str]:
        """Names of the cameras that cannot be opened."""
        return [stream.name for index, stream in enumerate(self.streams) if self._is_lost(index)]

    def check(self) -> None:
        """Take the secrets out of the URLs, name the cameras, and check all as a run would.

        Raises:
            ConfigError: what a run would refuse, or a snapshot that is there already.
        """
        asked = {name for url in self.urls for name in PLACEHOLDER.findall(url)}
        self.book = SecretBook(
            lambda name, value: name in asked or name in os.environ or self._holds_other(name, value)
        )
        urls = [self._without_secrets(number, url) for number, url in enumerate(self.urls, start=1)]
        self.entries = [StreamEntry(name, url) for name, url in zip(camera_names(urls), urls, strict=True)]
        text = self._text(self.entries)
        file = TomlFile(self.file, text, tomllib.loads(text))
        self.streams = checked_config(file, {**self.book.values, **os.environ}).config.enabled_streams
        there = [path for path in self._snapshots().values() if path.exists() and not self.options.force]
        if there:
            raise ConfigError(*(f"{path} is there already: replace it with --force" for path in there))

    def examine(self, indices: list[int]) -> None:
        """Open these cameras, several at the same time."""
        open_decoder = decoder_opener("cpu")

        def examined(stream: Stream) -> Examination:
            return examine(stream, open_decoder, stream.connect_timeout_s + stream.read_timeout_s)

        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="probe") as pool:
            found = list(pool.map(examined, [self.streams[index] for index in indices]))
        self.examined |= dict(zip(indices, found, strict=True))

    def set_login(self, indices: list[int], inquiry: Inquiry) -> bool:
        """Ask for another login of these cameras; return whether there is one to try."""
        others = "" if len(indices) == 1 else f" and {len(indices) - 1} more"
        login = inquiry.ask_login(f"{self.streams[indices[0]].display_url}{others}")
        if login is None:
            return False
        for index in indices:
            self.urls[index] = with_login(self.urls[index], login.user, login.password)
        self.check()
        return True

    def write(self) -> None:
        """Write secrets, file and snapshots, and say what was found."""
        write_secrets(self.secrets, self.book.values)
        entries = [
            StreamEntry(entry.name, entry.url, tuple(self._remarks(index))) for index, entry in enumerate(self.entries)
        ]
        write_output(self.file, self._text(entries))
        self._write_snapshots()
        for entry in entries:
            typer.echo("\n".join([entry.name, *(f"  {one_line(remark)}" for remark in entry.remarks)]))

    def last_words(self) -> Iterator[str]:
        """Yield what was written, and what to do next."""
        yield f"{self.file}: {counted(len(self.entries), 'camera')}"
        if self.lost:
            yield f"cannot be opened yet: {', '.join(self.lost)}; {self.file} says why"
        if self.book.values:
            yield f"{self.secrets}: {', '.join(self.book.values)}; only you can read them"
            yield f"next: export CREDENTIALS_DIRECTORY={_quoted(self.secrets)}"
        yield f"next: vision-line check {_quoted(self.file)} --probe"
        yield f"then: vision-line --streams {_quoted(self.file)}"

    def _without_secrets(self, number: int, url: str) -> str:
        try:
            return without_secrets(url, self.book)
        except ConfigError as exc:
            raise ConfigError(f"URL {number} of {len(self.urls)}: {exc}") from exc

    def _text(self, entries: list[StreamEntry]) -> str:
        names = sorted({name for entry in entries for name in PLACEHOLDER.findall(entry.url)})
        return streams_text(self.file.name, entries, names, _quoted(self.secrets))

    def _holds_other(self, name: str, value: str) -> bool:
        """Whether a secret of this name is there that is to stay: --force is for the file that is replaced alone."""
        if not holds_other(self.secrets, name, value):
            return False
        return not self.options.force or named_elsewhere(self.file.absolute(), name)

    def _is_lost(self, index: int) -> bool:
        return index in self.examined and self.examined[index].found.code is not None

    def _remarks(self, index: int) -> Iterator[str]:
        if index not in self.examined:
            yield "not opened yet"
            return
        examined = self.examined[index]
        yield described(examined) or "cannot be opened"
        yield from map(_remark, advise(self.streams[index], examined))

    def _snapshots(self) -> dict[int, Path]:
        folder = self.options.snapshots
        return (
            {} if folder is None else {index: folder / f"{entry.name}.jpg" for index, entry in enumerate(self.entries)}
        )

    def _write_snapshots(self) -> None:
        for index, path in self._snapshots().items():
            if index in self.examined and (frame := self.examined[index].frame) is not None:
                _write_snapshot(path, frame)


def _write_snapshot(path: Path, frame: Frame) -> None:
    try:
        image = ImageEncoding(_SNAPSHOT_QUALITY).encode(bgr_of(frame))
    except SourceError as exc:
        typer.echo(f"--snapshots {path}: not written: {exc}", err=True)
        return
    with said_of(path, "--snapshots"):
        path.parent.mkdir(parents=True, exist_ok=True)
    with open_output(path, "--snapshots") as output:
        output.write(image)


def _remark(advice: Advice) -> str:
    return f"{'good' if advice.is_good else 'TO DO'}: {advice.text}"


def _quoted(path: Path) -> str:
    """Return a path as a shell takes it."""
    return shlex.quote(str(path))
