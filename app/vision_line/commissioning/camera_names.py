# SPDX-License-Identifier: AGPL-3.0-or-later
"""Names for cameras, from where they are: `cam-10.0.0.21`, `capper`, `cam-10.0.0.5-ch2`. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from vision_line.config.load import PLACEHOLDER

_ODD = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST = 48  # leaves room for a number


def camera_names(urls: Sequence[str]) -> list[str]:
    """Return a name for each URL, which has no secrets: unique, also where case is not told apart.

    It is the host's; where a host has several cameras, the path's end tells them apart, and then a number.
    """
    hosts = [_place(url) for url in urls]
    times = Counter(hosts)
    names: list[str] = []
    for url, host in zip(urls, hosts, strict=True):
        wanted = _slug(f"{host}-{_end(url)}" if times[host] > 1 else host)
        names.append(_unused(wanted, {name.casefold() for name in names}))
    return names


def _unused(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 2
    while name.casefold() in taken:
        name, number = f"{wanted}-{number}", number + 1
    return name


def _place(url: str) -> str:
    """Return the host's own name, an address as `cam-ADDRESS`, or a file's name."""
    if url[:5].lower() == "file:":
        return PurePosixPath(url[5:]).stem
    host = _host(url)
    try:
        ip_address(host)
    except ValueError:
        return PLACEHOLDER.sub("", host).split(".")[0]
    return f"cam-{host}"


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _end(url: str) -> str:
    try:
        path = urlsplit(url).path
    except ValueError:
        return ""
    return PLACEHOLDER.sub("", path).rstrip("/").rpartition("/")[2]


def _slug(text: str) -> str:
    return _ODD.sub("-", text).strip("-._")[:_LONGEST].rstrip("-._") or "cam"
