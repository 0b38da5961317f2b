# SPDX-License-Identifier: AGPL-3.0-or-later
"""One phase of training on several devices: a process for each, by torch's launcher, as Ultralytics itself does it.

Ultralytics would start its own trainer, which rebuilds the full width and knows no teacher. So the same launcher starts
ours, which inherits all that Ultralytics does with several devices. On `cpu,cpu` gloo connects the processes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import JsonValue

from vision_line.errors import RunError
from vision_line.parents_death import end_with
from vision_line.ports import ProgressCallback
from vision_line_compression.files import Document
from vision_line_compression.training.schedule import DistillSettings, Phase, TrainSettings

ORDER, PROGRESS, FAILURE = "order.json", "progress.json", "failure.txt"

_WORKER = "vision_line_compression.training.distributed_worker"
_POLL_S = 0.5
#: After this long a launcher that was asked to end is killed.
_PATIENCE_S = 30.0


class PhaseOrder(Document):
    """What each process of a phase is given; `arguments` are Ultralytics'."""

    phase: Phase
    train: TrainSettings
    arguments: dict[str, JsonValue]
    teacher: Path | None = None
    distill: DistillSettings | None = None


def device_count(device: str) -> int:
    """Return how many devices a setting such as `0,1` names."""
    return len(device.split(","))


def first_device(device: str) -> str:
    """Return the first of a setting's devices as torch names it."""
    first = device.split(",", maxsplit=1)[0]
    return first if first == "cpu" else f"cuda:{first}"


def train_distributed(order: PhaseOrder, folder: Path, report: ProgressCallback | None) -> None:
    """Train on all devices of the order; what the processes print is in `folder/train.log`.

    Raises:
        RunError: one of them failed; the message is that of the first.
        KeyboardInterrupt: the processes have ended, and the last complete epoch is kept.
    """
    for name in (PROGRESS, FAILURE):
        (folder / name).unlink(missing_ok=True)
    order.write(folder / ORDER)
    command = [sys.executable, "-m", __name__, str(os.getpid()), str(folder / ORDER)]
    with (folder / "train.log").open("a", encoding="utf-8") as log:
        # a session of its own: Ctrl-C reaches it by us alone, after which we wait for it
        launcher = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        with _ended(launcher):
            while launcher.poll() is None:
                try:
                    launcher.wait(_POLL_S)
                except subprocess.TimeoutExpired:
                    _pass_on(folder / PROGRESS, report)
    _pass_on(folder / PROGRESS, report)
    if launcher.returncode:
        reason = f"its processes ended with {launcher.returncode}: {folder / 'train.log'}"
        if (folder / FAILURE).exists():
            reason = (folder / FAILURE).read_text(encoding="utf-8")
        raise RunError(f"{folder}: training failed: {reason}")


@contextmanager
def _ended(launcher: subprocess.Popen[bytes]) -> Iterator[None]:
    """Let no process outlive the block."""
    try:
        yield
    finally:
        if launcher.poll() is None:
            launcher.terminate()
            try:
                launcher.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                os.killpg(launcher.pid, signal.SIGKILL)
                launcher.wait()


def _pass_on(path: Path, report: ProgressCallback | None) -> None:
    """Report what the first process has written of its progress."""
    if report is not None and path.exists():
        content: Mapping[str, int] = json.loads(path.read_bytes())
        report(content["done"], content["total"])


def main() -> None:
    """Launch the processes; ends with the process that started this one."""
    from torch.distributed.run import main as launch

    parent, path = int(sys.argv[1]), Path(sys.argv[2])
    end_with(parent)
    count = device_count(PhaseOrder.read(path).train.device)
    launch(["--standalone", "--nproc_per_node", str(count), "-m", _WORKER, str(path)])


if __name__ == "__main__":
    main()
