# SPDX-License-Identifier: AGPL-3.0-or-later
"""The witness in a contender's process: notes each frame that has its result, and counts CPU time and memory.

It is the same for all contenders, and knows nothing of what they say of themselves. The window that counts starts when
every camera had a result and the warm-up is over.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

from numpy.typing import NDArray

from benchmarks.gil import sample_gil
from benchmarks.peers.accounts import cores, peak_mib, process_seconds, threads
from benchmarks.peers.job import BoxRow, Job, Observed, Result

#: Boxes are kept of the frames whose number is `SAMPLE_AT` above a multiple of this; others' boxes are not compared.
SAMPLE_EVERY, SAMPLE_AT = 25, 12
#: A contender that has no first result by then has failed; cameras that still have none then are not waited for.
FIRST_RESULT_S, ALL_CAMERAS_S = 60.0, 15.0
NO_RESULT, FAILED = 3, 4  # exit codes
_POLL_S = 0.1


def is_sampled(number: int | None) -> bool:
    """Whether the boxes of the frame with this number are compared. Pure."""
    return number is not None and number % SAMPLE_EVERY == SAMPLE_AT


class Witness:
    """Takes notes until the window is over, leaves them in the job's result, and calls `on_end`, in its thread."""

    def __init__(self, job: Job, on_end: Callable[[], None]) -> None:
        self._job = job
        self._on_end = on_end
        self._results: list[Result] = []
        threading.Thread(target=self._watch_or_leave, name="witness", daemon=True).start()

    def note(
        self, camera: int, number: int | None, boxes: Callable[[], list[BoxRow]], *, at_s: float | None = None
    ) -> None:
        """Note that a frame's result is there, now or since `at_s`; any thread. `boxes` is called if it is sampled."""
        now_s = time.monotonic() if at_s is None else at_s
        self._results.append(Result(now_s, camera, number, boxes() if is_sampled(number) else None))

    def _watch_or_leave(self) -> None:
        try:
            self._watch()
        except BaseException:  # noqa: BLE001  whatever it is, nobody else would notice, and the process would run for ever
            sys.stderr.write(traceback.format_exc())
            sys.stderr.flush()
            os._exit(FAILED)

    def _watch(self) -> None:
        self._await_results()
        time.sleep(self._job.warm_up_s)
        before, server, started_s = threads(), process_seconds(self._job.server_pid), time.monotonic()
        gil_held = self._pass_window()
        after, ended_s = threads(), time.monotonic()
        span_s = ended_s - started_s
        observed = Observed(
            started_s=started_s,
            ended_s=ended_s,
            cores=cores(before, after, span_s),
            server_cores=(process_seconds(self._job.server_pid) - server) / span_s,
            peak_mib=peak_mib(),
            results=[result for result in self._results if started_s <= result.at_s < ended_s],
            gil_held=gil_held,
        )
        observed.write(self._job.result)
        self._on_end()

    def _pass_window(self) -> float | None:
        if self._job.samples_gil:
            return sample_gil(os.getpid(), max(1, round(self._job.seconds))).held
        time.sleep(self._job.seconds)
        return None

    def _await_results(self) -> None:
        begun_s = time.monotonic()
        while not self._results:
            if time.monotonic() - begun_s > FIRST_RESULT_S:
                sys.stderr.write(f"no frame was inspected within {FIRST_RESULT_S:.0f} s\n")
                os._exit(NO_RESULT)
            time.sleep(_POLL_S)
        while len({result.camera for result in self._results}) < len(self._job.urls):
            if time.monotonic() - self._results[0].at_s > ALL_CAMERAS_S:
                return
            time.sleep(_POLL_S)


def leave() -> None:
    """End a process whose threads do not end by themselves; what it was asked for is written."""
    sys.stdout.flush()
    os._exit(0)


def box_rows(xyxy: NDArray, score: NDArray, class_id: NDArray) -> list[BoxRow]:  # type: ignore[type-arg] # any numbers
    """Return columns (n, 4), (n,), (n,) as rows."""
    return [
        [*map(float, box), float(level), float(kind)] for box, level, kind in zip(xyxy, score, class_id, strict=True)
    ]
