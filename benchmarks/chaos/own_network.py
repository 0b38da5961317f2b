# SPDX-License-Identifier: AGPL-3.0-or-later
"""A loopback interface of one's own, on which packets can be lost without the machine's other programs noticing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

#: Set in the process that runs in a network of its own.
_INSIDE = "VISION_LINE_CHAOS_NETWORK"
_TABLE = "chaos"


def enter(module: str, words: Sequence[str]) -> None:
    """Run `module` in a network of its own instead, if that is permitted and its tools are there, and end with it."""
    if _INSIDE in os.environ or None in map(shutil.which, ("unshare", "ip", "nft")):
        return
    tried = subprocess.run(["unshare", "--net", "nft", "list", "tables"], capture_output=True, check=False)
    if tried.returncode == 0:
        command = ["unshare", "--net", sys.executable, "-m", module, *words]
        sys.exit(subprocess.run(command, env=os.environ | {_INSIDE: "1"}, check=False).returncode)


def is_own() -> bool:
    """Whether this process has a network of its own; its loopback interface works from now on."""
    if _INSIDE not in os.environ:
        return False
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    return True


@contextmanager
def lossy(percent: int) -> Iterator[None]:
    """Lose so many of a hundred packets on the loopback interface, whoever sends them; others find them missing."""
    rules = f"add table ip {_TABLE}; add chain ip {_TABLE} in {{ type filter hook input priority 0; }};"
    _filter(f"{rules} add rule ip {_TABLE} in numgen random mod 100 < {percent} drop")
    try:
        yield
    finally:
        _filter(f"delete table ip {_TABLE}")


def _filter(rules: str) -> None:
    subprocess.run(["nft", rules], check=True, capture_output=True)
