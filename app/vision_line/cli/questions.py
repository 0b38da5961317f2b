# SPDX-License-Identifier: AGPL-3.0-or-later
"""Questions to whoever sits at the terminal, for `vision-line init`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from vision_line.commissioning.discovery import FoundDevice
from vision_line.commissioning.onvif import Login

#: A camera that gets wrong passwords too often locks the account.
MOST_TRIES = 3


def can_ask() -> bool:
    """Return whether somebody sees questions and can answer."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def ask_which(devices: Sequence[FoundDevice]) -> list[FoundDevice]:
    """Return the devices that are wanted, by their numbers."""
    while True:
        answer = typer.prompt("Which of them? Numbers, all or none", default="all").strip().lower()
        if (chosen := chosen_numbers(answer, len(devices))) is not None:
            return [devices[number - 1] for number in chosen]
        typer.echo(f"expected numbers from 1 to {len(devices)}, all or none", err=True)


def chosen_numbers(answer: str, most: int) -> list[int] | None:
    """Return the numbers from 1 to `most` that an answer names, each once; None where it makes no sense. Pure."""
    if answer in ("all", "none"):
        return list(range(1, most + 1)) if answer == "all" else []
    words = answer.replace(",", " ").split()
    if not words or not all(word.isascii() and word.isdecimal() and 1 <= int(word[:9]) <= most for word in words):
        return None
    return list(dict.fromkeys(int(word[:9]) for word in words))


def ask_login(place: str) -> Login | None:
    """Return user and password; None where no user is given."""
    user = typer.prompt(f"User of {place} (empty: leave it as it is)", default="", show_default=False)
    return Login(user, typer.prompt("Password", hide_input=True, default="", show_default=False)) if user else None


def ask_urls() -> list[str]:
    """Return cameras' URLs or addresses, one a line, up to an empty line."""
    typer.echo("Cameras, one a line: an rtsp:// URL, or the address of an ONVIF camera. An empty line ends the list.")
    urls = []
    while answer := typer.prompt("Camera", default="", show_default=False).strip():
        urls.append(answer)
    return urls
