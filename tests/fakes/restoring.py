# SPDX-License-Identifier: AGPL-3.0-or-later
"""A backup that is put back as `cp` does it, beside processes that have the file open.

All of it in processes of their own: within one, SQLite shares the locks and the log's index of a file.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def copied_over(backup: Path, path: Path) -> None:
    """Copy a backup over a database, whose inode stays, and remove the log of the database that was there."""
    subprocess.run(["cp", backup, path], check=True)
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def elsewhere(program: str, *arguments: str | Path) -> None:
    """Run a Python program to its end; its `sys.argv[1:]` are the arguments."""
    subprocess.run([sys.executable, "-c", program, *arguments], check=True)
