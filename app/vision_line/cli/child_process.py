# SPDX-License-Identifier: AGPL-3.0-or-later
"""A process beside a run (`--desk`, `--outputs`, `--lanes`): it ends with the run, and its end never harms the run.

The run holds the write end of a pipe that is the process's standard input. When the run ends, however it ends, the pipe
closes and the process ends: a run that was killed leaves none behind.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf
from typing import IO, cast

from vision_line.errors import ExitCode, VisionLineError
from vision_line.leaving import leave
from vision_line.records.background import let_inspection_go_first
from vision_line.screens.lines import say

logger = logging.getLogger(__name__)

#: How long a process that failed is left alone, in seconds: twice as long each time, up to the longest.
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
#: One that worked so long has its next failure taken for the first one.
STEADY_S = 300.0
#: How long the end waits for it: the desk lets requests under way finish for 3 s.
_END_S = 6.0
#: Added to the run's own priority: what inspects goes first.
NICE = 10
#: After this the process ends as it is, in seconds.
_GRACE_S = 10.0
#: These ends were meant: it was told to end.
_MEANT = frozenset({ExitCode.DONE, ExitCode.INTERRUPTED})
#: One that was started again stays in trouble until it has run for so long: it may fail at once, again and again.
_SETTLED_S = 10.0
#: A line of a process's own log: the run's has its time already.
_LOGGED = re.compile(r"\S+Z (?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) +(?P<text>.*)", re.DOTALL)
#: What it gets of the environment, by name and by the first letters: `HOME_CAMERA` may be a password.
_PASSED_ON = frozenset(
    {
        *("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR"),  # whom the machine trusts
    }
)
_PASSED_ON_FAMILIES = ("LC_", "PYTHON")


class ChildProcess:
    """Starts a process, hears what it says, and starts it again where it failed, in a thread; close it.

    `on_news` gets each sentence for who sits at the terminal, in the thread: what is on the process's standard output
    goes nowhere else. What it logs goes into the run's log.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        on_news: Callable[[str], None],
        secrets: Collection[str] = (),
        first_wait_s: float = FIRST_WAIT_S,
        end_s: float = _END_S,
    ) -> None:
        """Start at once; one that fails is left alone for `first_wait_s`, one that stays is killed after `end_s`.

        It gets of the environment what every program needs, and `secrets` by their names: no camera's password.
        """
        self._name = name
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if name in _PASSED_ON or name.startswith(_PASSED_ON_FAMILIES) or name in secrets
        }
        self._command = list(command)
        self._on_news = on_news
        self._first_wait_s = first_wait_s
        self._end_s = end_s
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._trouble, self._runs_since_s = "", inf
        self._thread = threading.Thread(target=self._watch, name=name, daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str:
        """That the process does not run, and how it ended; "" where it runs."""
        return "" if time.monotonic() - self._runs_since_s > _SETTLED_S else self._trouble

    def reload(self) -> None:
        """Have the process read its configuration and its secrets again; one that just starts, once it can."""
        with self._lock:
            if self._process is not None:
                self._process.send_signal(signal.SIGHUP)

    def close(self) -> None:
        """End the process and wait for that; may be called twice."""
        self._closing.set()
        with self._lock:
            if self._process is not None:
                self._process.terminate()
        self._thread.join(self._end_s)
        with self._lock:
            if self._process is not None:
                logger.warning("the %s does not end and is killed", self._name)
                self._process.kill()
        self._thread.join(self._end_s)

    def _watch(self) -> None:
        # Inherited by the process, so that it is not killed by one that comes before it listens (`caught_signals`).
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        wait_s, is_first = self._first_wait_s, True
        while not self._closing.is_set():
            began_s = time.monotonic()
            ended = self._serve()
            if self._closing.is_set():
                return
            self._trouble = f"the {self._name} does not run (exit code {ended})"
            # What it is told was right when the run began: what is wrong since then may be mended.
            is_wrong = ended == ExitCode.CONFIG
            if ended in _MEANT or (is_wrong and is_first):
                self._say(f"the {self._name} has ended (exit code {ended}); the line goes on without it")
                return
            wait_s = self._first_wait_s if time.monotonic() - began_s > STEADY_S else wait_s
            pause_s, is_first = LONGEST_WAIT_S if is_wrong else wait_s, False
            self._say(f"the {self._name} has failed (exit code {ended}) and is started again in {pause_s:g} s")
            self._closing.wait(pause_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _serve(self) -> int | str:
        """Run the process until it ends; return its exit code, or why there is no process."""
        try:
            with self._lock:
                if self._closing.is_set():
                    return ExitCode.INTERRUPTED
                process = self._process = _started(self._command, self._environment)
                self._runs_since_s = time.monotonic()
        except OSError as exc:
            return exc.strerror or str(exc)
        log = threading.Thread(
            target=_log_lines, args=(self._name, process.stderr), name=f"{self._name} log", daemon=True
        )
        log.start()
        with process:
            for line in cast("IO[str]", process.stdout):
                self._on_news(line.rstrip("\n"))
            code = process.wait()
            log.join()
        with self._lock:
            self._process, self._runs_since_s = None, inf
        return code

    def _say(self, sentence: str) -> None:
        logger.warning("%s", sentence)
        self._on_news(sentence)


def _started(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start a process in a session of its own: Ctrl-C is for the run, which ends it with itself."""
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
    )


def _log_lines(name: str, output: IO[str]) -> None:
    """Enter what a process logs into the run's log: as it said it, and what it did not log itself as a warning."""
    for line in output:
        said = _LOGGED.match(line)
        level = logging.WARNING if said is None else logging.getLevelNamesMapping()[said["level"]]
        logger.log(level, "%s: %s", name, (line if said is None else said["text"]).rstrip("\n"))


def serve_with_run(serve: Callable[[], int], nice: int = NICE) -> int:
    """Serve in this process, which a run started, after it by `nice` and until it ends; return the exit code."""
    signal.signal(signal.SIGTERM, leave)  # until it serves
    os.nice(nice)
    if nice:
        let_inspection_go_first()
    threading.Thread(target=_end_with_run, name="run's end", daemon=True).start()
    try:
        return serve()
    except VisionLineError as exc:
        say(str(exc), sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:  # before it serves
        return ExitCode.INTERRUPTED


def _end_with_run() -> None:
    """Wait until whoever started this is gone, then end in order, and if that hangs at once."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os._exit(ExitCode.INTERRUPTED)
