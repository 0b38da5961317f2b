# SPDX-License-Identifier: AGPL-3.0-or-later
"""A self-test goes on when the process that checks crashes, hangs, or is ended: with real processes that do."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from vision_line.errors import DeviceError, RunError
from vision_line.selftest import supervisor
from vision_line.selftest.device_under_test import QUICK
from vision_line.selftest.report import Selftest, Status
from vision_line.selftest.selftest import CHECKS, NOT_OPEN, Check
from vision_line.selftest.supervisor import Watching, run_selftest

THREE = tuple(check for check in CHECKS if check.name in ("kernel_bits", "decode_parity", "decode_rate"))
OPENING = tuple(check for check in CHECKS if check.name in ("decode_rate", "opening", "proof", "memory"))

#: Passes each check, and meets its fate in the one that it is told.
WORKER = """
import ctypes, faulthandler, os, resource, sys, time
from vision_line.errors import DeviceError
from vision_line.selftest.news import Begun, News, RaisedError, CheckRequest
from vision_line.selftest.report import passed, result
from vision_line.selftest.worker import announce

fate, where = sys.argv[1:3]
request = CheckRequest.model_validate_json(sys.argv[3])
pipe = os.fdopen(int(sys.argv[4]), "w")
faulthandler.enable()
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def say(news):
    pipe.write(news.model_dump_json(exclude_defaults=True) + "\\n")
    pipe.flush()


def meet(fate):
    if fate == "crashes":
        print("the driver said something in /home/ann/secret", file=sys.stderr, flush=True)
        ctypes.string_at(0)
    elif fate == "hangs":
        time.sleep(600)
    elif fate == "exits":
        os._exit(7)
    elif fate == "refuses":
        say(News(raised=RaisedError.of(DeviceError("cuda: no such GPU"))))
        sys.exit()


if where == "start":
    meet(fate)
for name in request.checks:
    limit_s = 1.0
    announce(name)
    say(News(begun=Begun(check=name, limit_s=limit_s)))
    if name == where:
        if fate == "hangs":
            faulthandler.dump_traceback_later(limit_s, exit=True)
        meet(fate)
    say(News(result=result(name, passed("fine" if request.opens else "without it"))))
if where == "end":
    meet(fate)
"""


@dataclass
class Heard:
    """What a watcher heard."""

    titles: list[str] = field(default_factory=list)
    reports: list[Selftest] = field(default_factory=list)

    @property
    def watching(self) -> Watching:
        """Who hears it."""
        return Watching(self.titles.append, self.reports.append)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Return the process that checks."""
    path = tmp_path / "worker.py"
    path.write_text(WORKER, encoding="utf-8")
    return path


@pytest.fixture
def heard() -> Heard:
    """Return a watcher."""
    return Heard()


def run(script: Path, fate: str, where: str, heard: Heard, checks: tuple[Check, ...] = THREE) -> Selftest:
    """Run checks in a process that meets its fate at a check, at its start, or at its end."""
    worker = (sys.executable, str(script), fate, where)
    return run_selftest("cpu", None, QUICK, heard.watching, checks, worker=worker)


@pytest.mark.parametrize(
    ("fate", "words", "last_words"),
    [
        ("crashes", "it ended the program: SIGSEGV after ", "Fatal Python error: Segmentation fault"),
        ("hangs", "it hung: it was ended after 1 s", "Timeout (0:00:01)!"),
        ("exits", "it ended the program with exit code 7 after ", ""),
    ],
)
def test_the_check_that_ends_the_process_fails_and_the_others_go_on(
    script: Path, heard: Heard, fate: str, words: str, last_words: str
) -> None:
    report = run(script, fate, "decode_parity", heard)

    assert [check.status for check in report.checks] == [Status.PASSED, Status.FAILED, Status.PASSED]
    failure = report.checks[1]
    assert failure.sentence.startswith(words)
    assert last_words in "\n".join(failure.traceback)
    assert "ann" not in failure.model_dump_json()
    assert report.unfinished == []
    assert heard.titles == [check.title for check in THREE]


def test_what_is_known_is_heard_after_each_check(script: Path, heard: Heard) -> None:
    run(script, "crashes", "decode_parity", heard)

    assert [[check.name for check in report.checks] for report in heard.reports] == [
        ["kernel_bits"],
        ["kernel_bits", "decode_parity"],
        ["kernel_bits", "decode_parity", "decode_rate"],
    ]
    assert heard.reports[0].unfinished == ["decode_parity", "decode_rate"]


def test_a_device_that_ends_the_process_when_it_is_opened_is_not_opened_again(script: Path, heard: Heard) -> None:
    report = run(script, "crashes", "opening", heard, OPENING)

    assert [check.status for check in report.checks] == [
        Status.PASSED,
        Status.FAILED,
        Status.SKIPPED,
        Status.SKIPPED,
    ]
    assert report.checks[-1].sentence == NOT_OPEN


def test_a_process_that_cannot_begin_fails_all(script: Path, heard: Heard) -> None:
    report = run(script, "crashes", "start", heard)

    assert set(report.failed) == {check.name for check in THREE}
    assert "SIGSEGV" in report.checks[0].sentence


def test_what_refuses_the_device_is_raised_here(script: Path, heard: Heard) -> None:
    with pytest.raises(DeviceError, match="cuda: no such GPU"):
        run(script, "refuses", "start", heard)


def test_a_crash_when_all_is_done_is_no_success(script: Path, heard: Heard) -> None:
    """The report is there; the device could not be closed."""
    with pytest.raises(RunError, match="all checks ran; while the device was closed it ended the program: SIGSEGV"):
        run(script, "crashes", "end", heard)
    assert heard.reports[-1].unfinished == []


def test_a_process_that_cannot_even_end_itself_is_ended(
    script: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds its limit for something else: who waits for it has one too."""
    monkeypatch.setattr(supervisor, "GRACE_S", 0.5)
    monkeypatch.setattr(supervisor, "_BETWEEN_S", 5.0)

    report = run(script, "hangs", "start", heard)

    assert set(report.failed) == {check.name for check in THREE}
    assert "it hung: it was ended after" in report.checks[0].sentence
