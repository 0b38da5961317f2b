# SPDX-License-Identifier: AGPL-3.0-or-later
"""One stage in a process of its own: `python -m tools.gpu_check.stage MODULE NAME`."""

from __future__ import annotations

import faulthandler
import importlib
import sys

from tools.gpu_check.findings import run_stage


def main() -> int:
    """Run it."""
    faulthandler.enable()
    module, name = sys.argv[1:]
    return run_stage(name, lambda findings: importlib.import_module(f"tools.gpu_check.stages.{module}").run(findings))


if __name__ == "__main__":
    sys.exit(main())
