# SPDX-License-Identifier: AGPL-3.0-or-later
"""The desk beside a run (`--desk`): where it may listen, how it is started, and who gets what it says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO

from vision_line.cli.desk import OPEN_ONCE, check_installed, listen_address
from vision_line.config.listen import ListenAddress
from vision_line.config.listening import listeners
from vision_line.config.load import LoadedConfig
from vision_line.config.toml import TomlTable, dotted
from vision_line.errors import ConfigError
from vision_line.screens.lines import say

_ADD_USER = "vision-line desk user add NAME --role ROLE"


def checked_address(listen: str) -> ListenAddress:
    """Return where the desk is to listen, before anything is started.

    Raises:
        ConfigError: it is no address of this machine alone, or the desk is not installed.
    """
    address = listen_address(listen, "--desk-listen")
    if not address.is_loopback:
        raise ConfigError(
            f"--desk-listen {address}: expected an address of this machine alone, such as 127.0.0.1:8080; for others"
            " start vision-line desk by itself"
        )
    check_installed()
    return address


def check_desk_port(address: ListenAddress, loaded: LoadedConfig) -> None:
    """Find out whether something of the file is to listen where the desk is.

    Raises:
        ConfigError: both named.
    """
    named: TomlTable = {"output": [{"name": output.name} for output in loaded.config.output]}
    for one in listeners(loaded.config):
        if one.meets(address):
            key = f"{dotted(one.path, named)} = {one.address}"
            raise ConfigError(
                f"--desk-listen {address}: {key} of {loaded.path} listens there too: expected another port"
            )


def without_link(sentence: str) -> str:
    """Return what may stand in a file or a journal: a link that signs in may not."""
    opening, _, link = sentence.partition(": ")
    if opening != OPEN_ONCE:
        return sentence
    place = link.partition("/enter")[0]
    return f"the desk is at {place}; the link that opens it is shown on a terminal alone, or add a user: {_ADD_USER}"


def desk_command(record: Path, address: ListenAddress) -> list[str]:
    """Return the command of a desk that ends with its standard input."""
    return [sys.executable, "-m", "vision_line.cli.desk_child", str(record), str(address)]


class LatestNews:
    """Keeps the newest sentence for a dashboard, whose image, feed and log do not have it; from any thread."""

    newest = ""

    def put(self, sentence: str) -> None:
        """Take a sentence."""
        self.newest = sentence


class SaidNews:
    """Writes each sentence to `stream`, without the link where that is no terminal; from any thread."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()

    def put(self, sentence: str) -> None:
        """Take a sentence."""
        say(sentence if self._is_terminal else without_link(sentence), self._stream)
