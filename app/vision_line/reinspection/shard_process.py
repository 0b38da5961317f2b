# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m vision_line.reinspection.shard_process SHARD RESULT PARENT`: one shard in a process of its own.

A video that breaks a decoder ends this process, and neither the command nor the worker of a cluster.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from vision_line.errors import ExitCode, RunError, VisionLineError
from vision_line.output_files import write_output
from vision_line.reinspection.shard import Shard, ShardResult, inspect_shard
from vision_line.screens.logs import logging_to_stream

#: The option of Linux' prctl.
_SIGNAL_OF_PARENTS_DEATH = 1


def in_process(shard: Shard) -> ShardResult:
    """Inspect a shard in a process of its own, and wait for it.

    Raises:
        RunError: it failed; its last words are in the message.
        KeyboardInterrupt: it was asked to end.
    """
    with TemporaryDirectory(prefix="vision-line-shard-") as made:
        plan, result = Path(made) / "shard.json", Path(made) / "result.json"
        plan.write_text(shard.model_dump_json(), encoding="utf-8")
        ended = subprocess.run(
            [sys.executable, "-m", __spec__.name, plan, result, str(os.getpid())],
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
        if ended.returncode == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        if ended.returncode:
            sys.stderr.write(ended.stderr)
            said = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
            raise RunError(f"inspecting {len(shard.footage)} recordings failed: {said}")
        return ShardResult.model_validate_json(result.read_bytes())


def end_with(parent: int) -> None:
    """Let SIGTERM end this process when `parent` dies, which is the process that waits for it: nobody else would."""
    ctypes.CDLL(None).prctl(_SIGNAL_OF_PARENTS_DEATH, signal.SIGTERM)
    if os.getppid() != parent:  # it died before that
        sys.exit(ExitCode.INTERRUPTED)


def main(plan: Path, result: Path) -> ExitCode:
    """Inspect what `plan` says and write what was found."""
    try:
        with logging_to_stream(level=logging.WARNING):
            found = inspect_shard(Shard.model_validate_json(plan.read_bytes()))
        write_output(result, found.model_dump_json())
    except VisionLineError as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.DONE


if __name__ == "__main__":
    end_with(int(sys.argv[3]))
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
