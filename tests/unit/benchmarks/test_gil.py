# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who holds the GIL: what py-spy writes is read rightly, and a real process is sampled."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from benchmarks.gil import Profile, SamplingError, Stack, failed_samples, merge_profiles, parse_stacks, sample_gil

RAW = """\
thread (1398041634): camera line 3;Thread.run (threading.py:982);Session._read (vision_line/ingest/session.py:168) 30
thread (139804163421889): camera line 4;Session._read (vision_line/ingest/session.py:168) 10
thread (0x7F00): scheduler;Scheduler._run (vision_line/scheduler/loop.py:140) 50
thread (1): MainThread;<module> (<string>:1) 5
thread (2): detection-log;Writer.run (vision_line/records/writer.py:7) 5
thread (3);work (a.py:9) 1
"""


def profile(raw: str, taken: int = 200) -> Profile:
    return Profile(parse_stacks(raw), taken)


def test_a_line_is_a_thread_its_frames_and_a_count() -> None:
    assert parse_stacks(RAW)[0] == Stack(
        "camera line 3", ("Thread.run (threading.py:982)", "Session._read (vision_line/ingest/session.py:168)"), 30
    )


def test_a_thread_without_a_name_is_a_librarys() -> None:
    assert parse_stacks(RAW)[-1].thread == "unnamed"


def test_a_thread_without_a_frame_is_outside_of_pythons_code() -> None:
    (stack,) = parse_stacks("thread (18498) 1\n")
    assert (stack.frames, stack.samples, stack.line) == ((), 1, "outside of Python's code")


@pytest.mark.parametrize("line", ["nothing", "main (a.py:1) 4"])
def test_what_is_no_stack_of_a_thread_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="expected a stack"):
        parse_stacks(line)


def test_the_share_of_held_time_counts_samples_in_which_nobody_held_it() -> None:
    assert profile(RAW).held == pytest.approx(101 / 200)


def test_threads_of_a_kind_are_counted_together_the_busiest_first() -> None:
    assert profile(RAW).by_kind() == {
        "scheduler": 0.25,
        "cameras": 0.2,
        "event loop": 0.025,
        "log writer": 0.025,
        "unnamed": 0.005,
    }


def test_a_line_counts_for_all_threads_that_run_it() -> None:
    assert profile(RAW).by_line()["Session._read (vision_line/ingest/session.py:168)"] == 0.2


def test_a_function_counts_for_what_it_calls() -> None:
    shares = profile(RAW).within("cameras")
    assert shares["Session._read (vision_line/ingest/session.py)"] == 1.0
    assert shares["Thread.run (threading.py)"] == 0.75


def test_profiles_are_merged_as_if_they_were_one() -> None:
    merged = merge_profiles([profile(RAW, 200), profile(RAW, 800)])
    assert merged.held == pytest.approx(202 / 1000)
    assert len(merged.stacks) == len(parse_stacks(RAW))


@pytest.mark.parametrize(("said", "failed"), [("py-spy> Samples: 12 Errors: 7\n", 7), ("", 0)])
def test_samples_that_failed_are_read_from_the_last_words(said: str, failed: int) -> None:
    assert failed_samples(said) == failed


HOLDER = """
import sys, threading
def hold():
    while True:
        pass
threading.Thread(target=hold, name="camera 1", daemon=True).start()
sys.stdout.write("up\\n")
sys.stdout.flush()
sys.stdin.read()
"""


def test_a_process_that_is_not_there_is_named() -> None:
    with pytest.raises(SamplingError, match="process 999999999"):
        sample_gil(999_999_999, 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="who may read another process differs from machine to machine")
def test_a_thread_that_never_lets_go_holds_it_always() -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = sample_gil(process.pid, 1, 100)
        process.kill()
    assert found.by_kind()["cameras"] > 0.8
    assert {stack.frames[-1].partition(" ")[0] for stack in found.stacks if stack.kind == "cameras"} == {"hold"}
