# SPDX-License-Identifier: AGPL-3.0-or-later
"""One self-test, whatever becomes of the process that checks: what hangs or crashes fails, and the rest goes on.

On hardware that nobody has tried, a driver may end the process or never come back. So it is a process of its own, which
is started again for the checks behind the one that ended it; what was found until then is kept.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import BinaryIO

from vision_line.devices.model.model import open_model
from vision_line.errors import RunError
from vision_line.selftest.device_under_test import Settings
from vision_line.selftest.news import Begun, CheckRequest, News, heading_of
from vision_line.selftest.report import CheckResult, Selftest, failed, result
from vision_line.selftest.selftest import CHECKS, LIMIT_S, OPENING, Check, head_of, not_run

logger = logging.getLogger(__name__)

WORKER = (sys.executable, "-m", "vision_line.selftest.worker")
#: The process ends itself at a check's limit, and says where it was. If it cannot, it is ended so much later.
GRACE_S = 20.0
#: Between two checks, and before the first.
_BETWEEN_S = LIMIT_S
#: What ended by itself this close to its limit was ended by it: two processes do not measure alike.
_LATE_SHARE = 0.9
#: So much of what it said last is kept of a check that ended it.
_TAIL_BYTES, _TAIL_LINES = 16_384, 80


@dataclass(frozen=True, slots=True)
class Watching:
    """Who hears how a self-test goes on: each check's title, and the report each time that more is known."""

    on_status: Callable[[str], None]
    on_report: Callable[[Selftest], None]


@dataclass(slots=True)
class _State:
    """What has been found, and what is to come; `begun` is the check that runs."""

    head: Selftest
    left: list[Check]
    found: list[CheckResult] = field(default_factory=list)
    begun: Begun | None = None
    opens: bool = True

    def report(self) -> Selftest:
        return self.head.model_copy(update={"checks": [*self.found], "unfinished": [check.name for check in self.left]})

    def add(self, found: CheckResult) -> None:
        """Take the result of the next check."""
        self.found.append(found)
        del self.left[0]
        self.begun = None


def run_selftest(
    device: str,
    model: Path | None,
    settings: Settings,
    watching: Watching,
    checks: Sequence[Check] = CHECKS,
    *,
    log: Path | None = None,
    worker: Sequence[str] = WORKER,
) -> Selftest:
    """Test the device called `device` with the bundle or ONNX file `model`, None: the shipped bundle.

    Takes half a minute to minutes; a GPU's first engine takes minutes more. What the processes print is added to `log`.

    Raises:
        DeviceError: there is no such device, or it cannot be used here.
        ModelError: the model cannot be used.
        RunError: the GPU fails while the device is closed.
    """
    state = _State(head_of(open_model(model), settings, device), list(checks))
    with tempfile.TemporaryDirectory(prefix="vision-line-selftest-") as folder:
        printed = Path(folder) / "log" if log is None else log
        while state.left:
            names = tuple(check.name for check in state.left)
            request = CheckRequest(device=device, model=model, settings=settings, checks=names, opens=state.opens)
            with printed.open("ab") as file:
                _one_process((*worker, request.model_dump_json()), file, state, watching)
    return state.report()


def _one_process(command: Sequence[str], log: BinaryIO, state: _State, watching: Watching) -> None:
    """Let one process check what is left, until it ends."""
    reading, writing = os.pipe()
    begin = log.tell()
    try:
        process = subprocess.Popen(
            [*command, str(writing), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(writing,),
        )
    finally:
        os.close(writing)
    began_s = time.monotonic()
    try:
        with closing(_heard(reading, process, state)) as heard:
            for news in heard:
                _take(news, state, watching)
                if news.begun is not None:
                    began_s = time.monotonic()
    finally:
        process.kill()
        process.wait()
    if not state.left and process.returncode == 0:
        return
    why = _end_of(process.returncode, state.begun, time.monotonic() - began_s)
    if not state.left:
        raise RunError(f"selftest: all checks ran; while the device was closed {why}")
    _fail(state, why, _tail(Path(log.name), begin, state.begun))
    watching.on_report(state.report())


def _heard(descriptor: int, process: subprocess.Popen[bytes], state: _State) -> Generator[News]:
    """Yield what the process says until it ends, or hangs; then it is killed."""
    heard: Queue[bytes | None] = Queue()

    def read() -> None:
        with os.fdopen(descriptor, "rb") as pipe:
            for line in pipe:
                heard.put(line)
        heard.put(None)

    reader = threading.Thread(target=read, name="selftest-reader")
    reader.start()
    try:
        while True:
            limit_s = _BETWEEN_S if state.begun is None else state.begun.limit_s
            line = heard.get(timeout=limit_s + GRACE_S)
            if line is None:
                break
            yield News.model_validate_json(line)
        process.wait(GRACE_S)
    except (Empty, subprocess.TimeoutExpired):
        logger.debug("the process that checks hangs, and is ended")
    finally:
        process.kill()
        reader.join()


def _take(news: News, state: _State, watching: Watching) -> None:
    """Take what the process said.

    Raises:
        VisionLineError: what it cannot go on for.
    """
    if news.warning:
        logger.warning("%s", news.warning)
    if news.raised is not None:
        raise news.raised.error()
    if news.head is not None:
        state.head = news.head
    if news.begun is not None:
        state.begun = news.begun
        watching.on_status(state.left[0].title)
    if news.result is not None:
        state.add(news.result)
        watching.on_report(state.report())


def _fail(state: _State, why: str, last_words: Sequence[str]) -> None:
    """Note that the process ended in a check, or before any: then none of them can be run."""
    ended = list(state.left) if state.begun is None else state.left[:1]
    for check in ended:
        state.add(result(check.name, failed(why), [f"{line}\n" for line in last_words]))
        if check is OPENING:  # it would end the next process too
            state.opens = False
    if not state.opens:
        while state.left and state.left[0].needs_device:
            state.add(not_run(state.left[0]))


def _end_of(code: int, begun: Begun | None, after_s: float) -> str:
    """Say how a process ended that had something left to do."""
    limit_s = _BETWEEN_S if begun is None else begun.limit_s
    if after_s >= _LATE_SHARE * limit_s:
        return f"it hung: it was ended after {after_s:.0f} s"
    if code < 0:
        return f"it ended the program: {signal.Signals(-code).name} after {after_s:.1f} s"
    return f"it ended the program with exit code {code} after {after_s:.1f} s"


def _tail(log: Path, begin: int, begun: Begun | None) -> list[str]:
    """Return the last lines that one process printed in a check, whose part of the log begins at `begin`."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(begin, size - _TAIL_BYTES))
        text = file.read().decode(errors="replace")
    printed = text if begun is None else text.rpartition(heading_of(begun.check))[2]
    return printed.splitlines()[-_TAIL_LINES:]
