# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which processor this is, and which vector instructions it has: they decide how an INT8 model is computed."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

#: Flags of `/proc/cpuinfo` and the instruction sets they stand for, the strongest first.
INSTRUCTION_SETS = {
    "amx_int8": "AMX INT8",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX-VNNI",
    "asimddp": "NEON dot product",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
}
_DOT_PRODUCTS = frozenset({"amx_int8", "avx512_vnni", "avx_vnni", "asimddp"})
_X86 = ("x86_64", "AMD64")


@dataclass(frozen=True, slots=True)
class Processor:
    """A processor: its name, its machine as `uname -m` says it, and its feature flags; empty where not known."""

    name: str
    machine: str
    flags: frozenset[str]

    @property
    def instruction_set(self) -> str:
        """Return the strongest instruction set that INT8 can use: "AVX2", or the machine where none is known."""
        return next((label for flag, label in INSTRUCTION_SETS.items() if flag in self.flags), self.machine)

    @property
    def has_dot_products(self) -> bool:
        """Whether it adds up products of 8-bit numbers in 32 bits, by one instruction.

        Without, x86 adds pairs of them in 16 bits, where they saturate. Other machines are taken as if they had it.
        """
        return self.machine not in _X86 or bool(self.flags & _DOT_PRODUCTS)


def this_processor(reported: str = "") -> Processor:
    """Return this machine's processor.

    `reported` is the name that the processor itself gives, as OpenVINO asks it. Where the kernel names another, the
    program runs in an emulator: the kernel's flags are then not those of what executes it, and none are known.
    """
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        cpuinfo = ""
    name, flags = parse_cpuinfo(cpuinfo)
    emulated = bool(reported and name) and reported.split() != name.split()
    return Processor(reported or name, platform.machine(), frozenset() if emulated else flags)


def parse_cpuinfo(text: str) -> tuple[str, frozenset[str]]:
    """Return the model name and the feature flags from the text of `/proc/cpuinfo`; empty when they are not there."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = fields.get("flags", fields.get("Features", ""))
    return fields.get("model name", ""), frozenset(flags.split())
