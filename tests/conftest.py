# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rules for every test: nothing is left running, and where skips are forbidden a skip is a failure."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, settings

import vision_line  # noqa: F401  first of all: it keeps OpenVINO's usage statistics, and their thread, from being loaded

# A deadline for one example, and a bound for drawing it, measure how busy the machine is, not the code.
# CI asks the same questions each time, so that a change is judged by what it changed; `make test` draws new ones.
settings.register_profile("vision-line", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("vision-line-ci", settings.get_profile("vision-line"), derandomize=True, database=None)
settings.load_profile("vision-line-ci" if os.environ.get("CI") else "vision-line")

#: Threads that libraries keep for the life of the process; they are not ours to end.
_LIBRARY_THREADS = ("pymp-", "Dummy", "tqdm")

#: How this process was scheduled when it began: policy, its parameter, niceness.
_SCHEDULING = os.sched_getscheduler(0), os.sched_getparam(0), os.getpriority(os.PRIO_PROCESS, 0)

#: Markers of tests that need hardware, data and models that may not be part of the project, or what `dev` leaves out.
_NOT_INSTALLED = frozenset({"gpu", "foreign_data", "left_out"})


def pytest_configure() -> None:
    """Let Ctrl-C arrive: what a shell starts in the background ignores it, and so does all that it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def spread(files: Sequence[str]) -> list[str]:
    """Return the files in the order in which several processes take them. Pure.

    Those that start whole runs wait for half of their time: next to each other they leave processors idle, and then all
    that compute come at once. So they are spread over the others, up to where four fifths of the work is done.
    """
    waiting = [name for name in files if name.startswith("tests/e2e/")]
    others = [name for name in files if not name.startswith("tests/e2e/")]
    work = [1 if name.startswith("tests/unit/") else 5 for name in others]  # as they take on average
    due = [0.8 * sum(work) * number / len(waiting) for number in range(len(waiting))]
    order: list[str] = []
    done = 0
    for name, takes in zip(others, work, strict=True):
        while due and due[0] <= done:
            due.pop(0)
            order.append(waiting[len(waiting) - len(due) - 1])
        order.append(name)
        done += takes
    return order + waiting[len(waiting) - len(due) :]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the files for several processes, the same in each of them."""
    if not hasattr(config, "workerinput"):
        return
    by_file: dict[str, list[pytest.Item]] = {}
    for item in items:
        by_file.setdefault(item.nodeid.partition("::")[0], []).append(item)
    items[:] = [item for name in spread([*by_file]) for item in by_file[name]]


@pytest.fixture(autouse=True)
def own_scheduling() -> Iterator[None]:
    """Take back what came over this process, and would come over all that it starts.

    Commands that go behind others do so for their process, also where a test calls them here; and the encoder SVT-AV1
    goes before everything where it is root: then no other test process gets its turn.
    """
    _schedule_as_at_first()
    yield
    _schedule_as_at_first()


def _schedule_as_at_first() -> None:
    policy, parameter, niceness = _SCHEDULING
    if os.sched_getscheduler(0) != policy:
        os.sched_setscheduler(0, policy, parameter)
    if os.getpriority(os.PRIO_PROCESS, 0) != niceness:
        with suppress(PermissionError):  # only root may take it back: the rest of the tests goes on behind others
            os.setpriority(os.PRIO_PROCESS, 0, niceness)


@pytest.fixture(autouse=True)
def no_leaked_threads() -> Iterator[None]:
    """Fail a test after which a thread that it started is still alive."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 20  # a busy machine has them end late
    while leaked := [t for t in threading.enumerate() if t not in before and not t.name.startswith(_LIBRARY_THREADS)]:
        if time.monotonic() > deadline:
            pytest.fail(f"threads left running: {[thread.name for thread in leaked]}")
        leaked[0].join(0.05)


@pytest.fixture(autouse=True)
async def no_leaked_tasks(no_leaked_threads: None) -> object:
    """Fail an asynchronous test after which one of its tasks is still pending.

    It asks for the threads' fixture so that threads are counted last, when the event loop and its executor are closed.
    """
    yield
    current = asyncio.current_task()
    leaked = [task for task in asyncio.all_tasks() if task is not current and not task.done()]
    leaked = [task for task in leaked if "pytest_asyncio" not in repr(task.get_coro())]
    if leaked:
        pytest.fail(f"tasks left pending: {leaked}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With VISION_LINE_FORBID_SKIPS=1 a skipped test fails the run, unless it needs what `dev` does not install."""
    if os.environ.get("VISION_LINE_FORBID_SKIPS") != "1" or exitstatus != pytest.ExitCode.OK:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    skipped = [report for report in reporter.stats.get("skipped", ()) if _NOT_INSTALLED.isdisjoint(report.keywords)]
    if skipped:
        reporter.write_line(f"{len(skipped)} tests were skipped though VISION_LINE_FORBID_SKIPS=1", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
