# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs a command under the system call filter of docs/deploy/vision-line.service: `python -m ... COMMAND`.

systemd's own tool says what the unit's sets hold, and libseccomp, which it uses itself, makes the filter. It is
stricter than the unit's: a call that is not listed kills, so that it is seen.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

UNIT = Path(__file__).parents[2] / "docs" / "deploy" / "vision-line.service"

#: `SCMP_ACT_KILL_PROCESS`, `SCMP_ACT_ERRNO` and `SCMP_ACT_ALLOW` of <seccomp.h>.
_KILL_PROCESS = 0x80000000
_ERRNO = 0x00050000
_ALLOW = 0x7FFF0000


def allowed_calls(unit: str) -> set[str]:
    """Return the names of the system calls that the unit's text allows; ProtectClock forbids those of the clock."""
    names: set[str] = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE):
        for word in line.split():
            names |= set(_calls_of(word)) if word.startswith("@") else {word}
    return names - set(_calls_of("@clock")) if re.search("^ProtectClock=yes$", unit, re.MULTILINE) else names


def confine(calls: Iterable[str]) -> None:
    """Kill this process and its children at every other call, from now on."""
    _filter(_KILL_PROCESS, calls, _ALLOW)


def refuse(*calls: str) -> None:
    """Have the kernel answer these calls with EPERM, from now on."""
    _filter(_ALLOW, calls, _ERRNO | errno.EPERM)


def _filter(default: int, calls: Iterable[str], action: int) -> None:
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(default)))
    for name in calls:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # below: a call of another processor
            _must(seccomp.seccomp_rule_add(context, ctypes.c_uint32(action), number, 0))
    _must(seccomp.seccomp_load(context))


def _calls_of(group: str) -> Iterable[str]:
    command = ["systemd-analyze", "syscall-filter", group]
    lines = subprocess.run(command, text=True, stdout=subprocess.PIPE, check=True).stdout.splitlines()
    for name in (line.strip() for line in lines[1:]):
        if name.startswith("@"):
            yield from _calls_of(name)
        elif name and not name.startswith("#"):
            yield name


def _must(status: int) -> None:
    if status < 0:
        raise OSError(-status, os.strerror(-status))


if __name__ == "__main__":
    confine(allowed_calls(UNIT.read_text(encoding="utf-8")))
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606  the filter is inherited, a shell is not wanted
