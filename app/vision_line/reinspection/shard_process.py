# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m vision_line.reinspection.shard_process SHARD RESULT PARENT`: one shard in a process of its own.

A video that breaks a decoder ends this process, and neither the command nor the worker of a cluster.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, cast

from vision_line.errors import ExitCode, RunError, VisionLineError
from vision_line.output_files import write_output
from vision_line.parents_death import end_with
from vision_line.reinspection.shard import Shard, ShardResult, inspect_shard
from vision_line.screens.logs import logging_to_stream


def in_process(shard: Shard) -> ShardResult:
    """Inspect a shard in a process of its own, and wait for it; what it warns of is on standard error at once.

    Raises:
        RunError: it failed; its last words are in the message.
        KeyboardInterrupt: it was asked to end.
    """
    with TemporaryDirectory(prefix="vision-line-shard-") as made:
        plan, result = Path(made) / "shard.json", Path(made) / "result.json"
        plan.write_text(shard.model_dump_json(), encoding="utf-8")
        code, said = _ended([sys.executable, "-m", __spec__.name, str(plan), str(result), str(os.getpid())])
        if code == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        if code:
            raise RunError(f"inspecting {len(shard.footage)} recordings failed: {said or f'exit code {code}'}")
        return ShardResult.model_validate_json(result.read_bytes())


def _ended(command: Sequence[str]) -> tuple[int, str]:
    """Return the exit code of a process and the last line that it wrote on standard error, which goes on to ours."""
    last = ""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        try:
            for line in cast("IO[str]", process.stderr):
                sys.stderr.write(line)
                last = line.strip() or last
            return process.wait(), last
        except BaseException:
            process.kill()
            raise


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
