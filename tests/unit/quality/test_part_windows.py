# SPDX-License-Identifier: AGPL-3.0-or-later
"""Events of the line and the challenge parts that they belong to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vision_line.quality.part_windows import PartPass, PartWindow, SeenEvent, match_parts

SCRATCH = frozenset({"scratch"})


def window(part: str, start_s: float, end_s: float, expected: frozenset[str] = SCRATCH) -> PartWindow:
    return PartWindow(part, expected, start_s, end_s)


def event(key: str, first_s: float, last_s: float, class_name: str = "scratch") -> SeenEvent:
    return SeenEvent(key, class_name, first_s, last_s)


def test_each_event_counts_for_one_part() -> None:
    """By where most of it lies; what lies in no window is stray."""
    events = [event("a", 1.0, 3.0), event("b", 3.5, 6.0), event("c", 20.0, 21.0)]
    passes, stray = match_parts([window("p", 0.0, 4.0), window("q", 3.0, 7.0)], events)

    assert [[seen.key for seen in one.events] for one in passes] == [["a"], ["b"]]
    assert [seen.key for seen in stray] == ["c"]


def test_an_event_in_two_windows_goes_to_the_nearer_one() -> None:
    """Seen wholly while both parts are in view."""
    windows = [window("p", 0.0, 10.0), window("q", 4.0, 14.0)]

    assert [len(one.events) for one in match_parts(windows, [event("a", 5.0, 7.0)])[0]] == [1, 0]
    assert [len(one.events) for one in match_parts(windows, [event("a", 7.5, 9.5)])[0]] == [0, 1]


def test_an_event_of_one_frame() -> None:
    """A window holds its start and not its end."""
    windows = [window("p", 0.0, 4.0), window("q", 4.0, 8.0)]

    assert [len(one.events) for one in match_parts(windows, [event("a", 4.0, 4.0)])[0]] == [0, 1]


def test_a_defective_part_is_found_with_all_that_is_wrong_with_it() -> None:
    """One class of two is not enough, and another class is none of them."""
    both = window("p", 0.0, 4.0, frozenset({"scratch", "dent"}))
    scratch, dent, burr = (event(name, 1.0, 2.0, name) for name in ("scratch", "dent", "burr"))

    assert PartPass(both, (scratch, dent)).found
    assert PartPass(both, (scratch, burr)).missing == {"dent"}
    assert not PartPass(both, (scratch, burr)).found
    assert not PartPass(both, ()).falsely_rejected


def test_a_good_part_is_rejected_by_any_event() -> None:
    """It is never found, because there is nothing to find."""
    good = window("g", 0.0, 4.0, frozenset())

    assert PartPass(good, (event("a", 1.0, 2.0),)).falsely_rejected
    assert not PartPass(good, ()).falsely_rejected
    assert not PartPass(good, (event("a", 1.0, 2.0),)).found


@given(
    gap_s=st.floats(0.5, 5.0),
    in_view=st.floats(0.3, 3.0),
    defects=st.lists(st.floats(-0.45, 0.45), min_size=1, max_size=40),
    sight=st.floats(0.0, 1.0),
)
def test_parts_at_belt_speed(gap_s: float, in_view: float, defects: list[float], sight: float) -> None:
    """Every defect goes to its own part, with up to three parts in view: it lies within its part of the belt."""
    half = in_view * gap_s / 2
    windows = [window(str(i), i * gap_s - half, i * gap_s + half) for i in range(len(defects))]
    middles = [(i + at * min(1.0, in_view)) * gap_s for i, at in enumerate(defects)]
    seen_s = sight * half / 2
    events = [event(str(i), middle - seen_s, middle + seen_s) for i, middle in enumerate(middles)]

    passes, stray = match_parts(windows, events)

    assert stray == []
    assert [[seen.key for seen in one.events] for one in passes] == [[one.window.part] for one in passes]
