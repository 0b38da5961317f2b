# SPDX-License-Identifier: AGPL-3.0-or-later
"""An engine that was right at the start is proven again while it inspects."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
import time

import pytest

from vision_line.errors import DeviceError, RunError
from vision_line.runtime import engine_watch
from vision_line.runtime.engine_watch import EngineWatch

DEADLINE_S = 40.0


def no_matter(_since_utc: float, _until_utc: float, _why: str) -> None:
    """Hear of a doubt that a test is not about."""


def no_alarm(_sentence: str) -> None:
    """Hear of an alarm that a test is not about."""


class Doubts:
    """Hears of doubts."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, float, str]] = []

    def take(self, since_utc: float, until_utc: float, why: str) -> None:
        """Hear of one."""
        self.heard.append((since_utc, until_utc, why))


async def test_an_engine_that_turns_wrong_ends_the_run() -> None:
    """Until then it goes on; and the error says since when results may be wrong."""
    said, proven_utc = ["", "", "cpu: it computes wrongly now"], [time.time()]
    doubts = Doubts()

    def prove() -> str:
        proven_utc.append(time.time())
        return said.pop(0)

    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(RunError, match=r"computes wrongly now; what was inspected since \d{4}-\d\d-\d\dT"):
            await EngineWatch(prove, doubts.take, no_alarm).run(every_s=0.01, ask_every_s=0.01)
    assert not said
    ((since_utc, until_utc, why),) = doubts.heard
    assert proven_utc[-3] <= since_utc <= proven_utc[-2], "the last proof that held had begun"
    assert until_utc >= proven_utc[-1]
    assert why == "cpu: it computes wrongly now"


async def test_what_cannot_be_proven_now_is_no_doubt_and_not_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    """A GPU without memory for a proof goes on; since when nothing is proven counts from the last proof that was."""
    said: list[str | DeviceError] = ["", DeviceError("cuda: out of memory"), "cuda: it computes wrongly now"]
    proven_utc = [time.time()]
    doubts, alarms = Doubts(), list[str]()

    def prove() -> str:
        proven_utc.append(time.time())
        answer = said.pop(0)
        if isinstance(answer, DeviceError):
            raise answer
        return answer

    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(RunError, match="computes wrongly now"):
            await EngineWatch(prove, doubts.take, alarms.append).run(every_s=0.01, ask_every_s=0.01)
    ((since_utc, _, _),) = doubts.heard
    assert proven_utc[0] <= since_utc <= proven_utc[1], "the proof that held had begun"
    assert "cannot be proven now" in caplog.text
    assert "cuda: out of memory" in caplog.text
    assert alarms[0] == ""
    assert re.fullmatch(
        r"the engines cannot be proven now, what .* since .* is unproven: cuda: out of memory", alarms[1]
    )
    assert len(alarms) == 2, "the fault ends the run"


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
async def test_a_doubt_spans_both_times_of_a_clock_that_was_set(step_s: float) -> None:
    """What was inspected before the step has the times of before, and what came behind it those of after."""
    before_utc = 1_795_896_000.0
    clock = [before_utc, before_utc]
    doubts = Doubts()
    watch = EngineWatch(
        lambda: "wrong", doubts.take, no_alarm, clock_utc=lambda: clock.pop() if clock else before_utc + step_s
    )
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(RunError, match="wrong"):
            await watch.run(every_s=0.01, ask_every_s=0.01)
    ((since_utc, until_utc, _),) = doubts.heard
    assert since_utc <= min(before_utc, before_utc + step_s)
    assert until_utc >= max(before_utc, before_utc + step_s)


async def test_records_that_take_nothing_hide_no_engine() -> None:
    """On a full disk nothing but the run's last words says what may be wrong."""

    def refuse(_since_utc: float, _until_utc: float, _why: str) -> None:
        raise RunError("the detection log cannot keep more")

    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(
            RunError, match=r"^cpu: wrong now; .* may be wrong, .*: the detection log cannot keep more$"
        ):
            await EngineWatch(lambda: "cpu: wrong now", refuse, no_alarm).run(every_s=0.01, ask_every_s=0.01)


async def test_a_machine_that_slept_is_proven_at_once() -> None:
    """It may have woken up on another processor."""
    asleep = iter([0.0, 0.0, 0.0, 5.0])
    watch = EngineWatch(lambda: "wrong", no_matter, no_alarm, asleep_s=lambda: next(asleep, 5.0))
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(RunError, match="wrong"):
            await watch.run(every_s=3600.0, ask_every_s=0.01)


async def test_an_engine_that_fails_or_hangs_is_no_secret_and_holds_up_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> str:
        raise RunError("cpu: the engine failed")

    doubts = Doubts()
    said = asyncio.Event()
    monkeypatch.setattr(engine_watch.logger, "error", lambda *_: said.set())
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(RunError, match="failed"):
            await EngineWatch(fail, doubts.take, no_alarm).run(every_s=0.01, ask_every_s=0.01)
        assert [why for _, _, why in doubts.heard] == ["cpu: the engine failed"]
        hangs, over = threading.Event(), threading.Event()

        def hang() -> str:
            hangs.set()
            over.wait(DEADLINE_S)
            raise RunError("cpu: the device is closed")

        watch = EngineWatch(hang, no_matter, no_alarm)
        watching = asyncio.create_task(watch.run(every_s=0.01, ask_every_s=0.01, hangs_s=0.01))
        await asyncio.to_thread(hangs.wait)
        await said.wait()
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
        unheard: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unheard.append(context))
        over.set()
        for thread in [each for each in threading.enumerate() if each.name == "engine proof"]:
            await asyncio.to_thread(thread.join)
        await asyncio.sleep(0)  # what the thread had the loop do is done
        gc.collect()
        assert not unheard, "nobody waits for the answer any more, and it is no error"


async def test_a_proof_that_hangs_is_an_alarm_until_one_holds() -> None:
    over, alarms = threading.Event(), asyncio.Queue[str]()
    watch = EngineWatch(lambda: "" if over.wait(DEADLINE_S) else "it hangs", no_matter, alarms.put_nowait)
    async with asyncio.timeout(DEADLINE_S):
        watching = asyncio.create_task(watch.run(every_s=0.01, ask_every_s=0.01, hangs_s=0.01))
        said = await alarms.get()
        assert said == f"the engines do not end their proof; what was inspected since {watch.right_since} is unproven"
        over.set()
        while said:  # again after twice as long
            said = await alarms.get()
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching


async def test_the_end_of_a_run_is_proven_too() -> None:
    """What was inspected since the last proof would stand as right else."""
    said, doubts = ["", "cpu: it computes wrongly now"], Doubts()
    watch = EngineWatch(lambda: said.pop(0), doubts.take, no_alarm)
    async with asyncio.timeout(DEADLINE_S):
        assert await watch.prove_last()
        assert not doubts.heard
        with pytest.raises(RunError, match=r"computes wrongly now; what was inspected since \d{4}-\d\d-\d\dT"):
            await watch.prove_last()
        await watch.prove_last()  # nothing is left in `said`: a fault is told once
    assert [why for _, _, why in doubts.heard] == ["cpu: it computes wrongly now"]


async def test_a_last_proof_that_hangs_is_said_and_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture) -> None:
    over, doubts = threading.Event(), Doubts()

    def hang() -> str:
        over.wait(DEADLINE_S)
        return "cpu: nobody hears this"

    async with asyncio.timeout(DEADLINE_S):
        assert not await EngineWatch(hang, doubts.take, no_alarm).prove_last(timeout_s=0.01), (
            "it is still inside the engine"
        )
    assert "did not end their last proof; what was inspected since" in caplog.text
    over.set()
    for thread in [each for each in threading.enumerate() if each.name == "engine proof"]:
        await asyncio.to_thread(thread.join)
    assert not doubts.heard
