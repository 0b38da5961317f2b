# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an object at a line is: one part, one that nobody saw cross, or none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from tests.unit.lanes.test_crossing_properties import RULE, SIZE_WH, bottle

from vision_line.frames import TrackedObject
from vision_line.lanes.crossing_line import CrossingLine, CrossingRule
from vision_line.lanes.crossing_watch import Crossing, CrossingWatch, ObjectsFrame
from vision_line.parts.part import PartCause

STEP_S = 0.1


class Scene:
    """A watch and its frames; an object goes 20 pixels a frame, 384 is the line."""

    def __init__(self, rule: CrossingRule = RULE, *, is_begun: bool = True) -> None:
        self.watch = CrossingWatch(rule)
        self.now_s = 0.0
        self.found: list[Crossing] = []
        if is_begun:
            self.show()

    def show(self, *objects: TrackedObject, after_s: float = STEP_S, criteria: int = 1) -> list[Crossing]:
        """Show a frame."""
        self.now_s += after_s
        found = self.watch.take(ObjectsFrame(self.now_s, SIZE_WH, criteria, objects))
        self.found += found
        return found

    def move(self, track: int, places: Iterable[float], **settings: object) -> list[Crossing]:
        """Show one object in each of the next frames."""
        return [each for x in places for each in self.show(replace(bottle(track, x), **settings))]  # type: ignore[arg-type]

    def wait(self, frames: int = 70) -> list[Crossing]:
        """Show nothing."""
        return [each for _ in range(frames) for each in self.show()]

    @property
    def causes(self) -> list[PartCause]:
        return [each.cause for each in self.found]


def test_a_part_has_the_moment_at_which_it_was_on_the_line() -> None:
    scene = Scene()
    (part,) = scene.move(1, range(300, 500, 20))  # 384 is a fifth of the way from 380 to 400
    assert (part.number, part.cause) == (1, PartCause.NONE)
    assert part.at_s == pytest.approx(0.1 + 5 * STEP_S + 0.2 * STEP_S)
    assert scene.wait() == []


def test_what_trembles_on_the_line_is_one_part() -> None:
    scene = Scene()
    scene.move(1, [340, 360, 380, 386, 380, 388, 381, 390, 383, 386, 420, 460])
    assert scene.causes == [PartCause.NONE]


def test_what_goes_back_and_comes_again_may_be_another_part() -> None:
    scene = Scene()
    scene.move(1, [340, 370, 400, 370, 340, 320, 360, 400, 440])
    assert scene.causes == [PartCause.NONE, PartCause.CROSSING]


def test_two_that_cross_together_are_two_parts() -> None:
    scene = Scene()
    for x in range(300, 460, 20):
        scene.show(bottle(1, x, y=80), bottle(2, x, y=280))
    assert len(scene.found) == len({each.number for each in scene.found}) == 2
    assert scene.causes == [PartCause.NONE] * 2


def test_what_is_seen_beyond_the_line_first_was_missed() -> None:
    scene = Scene()
    scene.move(1, [390, 410, 430], hits=1)
    assert scene.causes == []  # once it is an object, not a false box
    scene.move(1, [450])
    assert scene.causes == [PartCause.CROSSING]


def test_what_crossed_while_nobody_watched_is_said() -> None:
    begun = Scene(is_begun=False)
    begun.move(1, [500, 520], hits=1)
    assert begun.causes == [PartCause.RESTART]

    gone = Scene()
    gone.show(after_s=1.0)
    gone.show(bottle(1, 500, hits=1))
    assert gone.causes == []  # it came a frame after the gap: it is no object yet
    assert gone.show(bottle(2, 500, y=300, hits=1), after_s=1.0)[0].cause is PartCause.GAP


def test_a_track_that_goes_on_over_a_gap_may_be_another_object() -> None:
    scene = Scene()
    scene.move(1, [300, 320, 340, 360])
    assert [each.cause for each in scene.show(bottle(1, 440), after_s=0.4)] == [PartCause.GAP]


def test_longer_than_parts_are_in_view_is_a_part_for_all_that_may_have_passed() -> None:
    scene = Scene()
    scene.move(1, range(300, 500, 20))
    began_s = scene.now_s
    (blind,) = scene.show(after_s=2.5)
    assert (blind.at_s, blind.cause) == (began_s, PartCause.GAP)
    assert scene.watch.end(scene.now_s + 1.0) == []
    assert [each.cause for each in scene.watch.end(scene.now_s + 3.0)] == [PartCause.CAMERA]


def test_a_run_that_goes_takes_its_tracks_along() -> None:
    scene = Scene()
    scene.move(1, [300, 320, 340, 360])
    scene.watch.line_went()
    (blind,) = scene.show(after_s=30.0)
    assert blind.cause is PartCause.LINE_AWAY
    scene.wait()  # what was before the line then has crossed, as far as anybody can say
    assert scene.causes == [PartCause.LINE_AWAY] * 2


def test_a_track_that_is_lost_before_the_line_is_a_part_nobody_saw_cross() -> None:
    scene = Scene()
    scene.move(1, [280, 300, 320, 340])
    scene.wait()
    assert scene.causes == [PartCause.CROSSING]
    assert scene.found[0].at_s == pytest.approx(0.1 + 4 * STEP_S + 2.2 * STEP_S)


def test_a_track_that_is_found_anew_is_the_same_part() -> None:
    before = Scene()
    before.move(1, [240, 260, 280])
    before.show()
    before.move(2, range(320, 500, 20))
    assert before.causes == [PartCause.NONE]

    across = Scene()
    across.move(1, [320, 340, 360])
    across.show()
    across.move(2, range(400, 500, 20))
    across.wait()
    assert across.causes == [PartCause.CROSSING]  # nobody saw that it is one object, and not two

    beyond = Scene()
    beyond.move(1, [340, 360, 380, 400])
    beyond.wait(2)
    beyond.move(2, range(460, 600, 20))
    assert beyond.causes == [PartCause.NONE]


def test_what_was_given_up_and_comes_after_all_is_said_again() -> None:
    """Its track's number may be another object's by now: rather one entry too many than a part that nobody knows of."""
    scene = Scene()
    scene.move(1, [280, 300, 320, 340])
    scene.wait(8)
    scene.move(1, [340, 360, 380, 400, 420])
    assert scene.causes == [PartCause.CROSSING] * 2


def test_a_part_that_stood_and_is_gone_is_said() -> None:
    scene = Scene()
    scene.move(1, [300, 320, 320, 320, 320, 320, 320, 320, 320, 320])
    assert scene.wait(50) == []
    scene.wait(10)
    assert scene.causes == [PartCause.CROSSING]


def test_what_goes_back_from_where_it_came_is_no_part() -> None:
    scene = Scene()
    scene.move(1, [200, 240, 280, 240, 200, 160, 120, 80, 40])
    scene.wait()
    assert scene.causes == []


def test_a_box_that_is_seen_once_is_a_near_miss() -> None:
    scene = Scene()
    scene.move(1, [300, 320], hits=1)
    scene.move(2, [480], hits=1)
    scene.wait()
    assert scene.causes == []
    assert scene.watch.near_misses == 2


def test_who_crosses_before_it_is_an_object_is_a_part_at_that_moment() -> None:
    scene = Scene()
    scene.move(1, [370], hits=1)
    scene.move(1, [390, 410], hits=2)
    assert scene.causes == []
    (part,) = scene.move(1, [430])
    assert part.at_s == pytest.approx(0.2 + 0.7 * STEP_S)


def test_other_classes_are_no_parts_and_hide_none() -> None:
    scene = Scene()
    scene.move(1, range(300, 500, 20), class_name="cap")
    assert scene.causes == []
    scene.move(2, [300, 320, 340])
    scene.move(2, range(360, 460, 20), class_name="cap")
    assert scene.causes == [PartCause.CROSSING]  # it was taken for a part, and then for something else


def test_what_passes_beside_the_ends_is_counted_and_no_part() -> None:
    scene = Scene(replace(RULE, line=CrossingLine((0.6, 0.0), (0.6, 0.5), "right")))
    scene.move(1, range(300, 500, 20))
    assert scene.causes == [PartCause.NONE]
    for x in range(300, 500, 20):
        scene.show(bottle(2, x, y=300))
    assert (scene.causes, scene.watch.beside) == ([PartCause.NONE], 1)


@pytest.mark.parametrize(("direction", "first", "step"), [("left", 500, -20), ("right", 300, 20)])
def test_the_direction_says_which_side_is_beyond(direction: str, first: int, step: int) -> None:
    scene = Scene(replace(RULE, line=CrossingLine((0.6, 0.0), (0.6, 1.0), direction)))
    scene.move(1, [first + step * each for each in range(10)])
    assert scene.causes == [PartCause.NONE]


def test_settings_that_change_begin_other_numbers() -> None:
    """Track 1 of the next settings is another one; where it must be, it is the same object."""
    scene = Scene()
    scene.move(1, [300, 320, 340])
    scene.show(bottle(7, 360), criteria=2)
    scene.show(bottle(7, 380), bottle(1, 100), criteria=2)
    (part,) = scene.show(bottle(7, 400), bottle(1, 120), criteria=2)
    assert part.cause is PartCause.NONE


def test_over_a_gap_a_number_alone_is_no_identity() -> None:
    """The next object may be where the one before was: the tracker then takes it for that one."""
    counted = Scene()
    counted.move(1, range(300, 420, 20))
    counted.show(bottle(1, 405), after_s=1.5)  # the one before is 300 pixels further by now
    assert counted.causes == [PartCause.NONE, PartCause.GAP]

    before = Scene()
    before.move(1, [240, 260, 280, 300])
    before.show(bottle(1, 320), after_s=1.5)
    before.move(1, range(340, 440, 20))
    before.wait()
    assert before.causes == [PartCause.GAP, PartCause.NONE]

    stood = Scene()
    stood.move(1, [*range(300, 390, 20), *[390] * 9])
    stood.show(bottle(2, 400), after_s=1.5)
    assert stood.causes == [PartCause.NONE, PartCause.GAP]


def test_what_stood_on_the_line_and_is_found_again_before_it_is_not_accepted_twice() -> None:
    scene = Scene()
    scene.move(1, [300, 320, 340, 360, 380, 388])
    scene.wait(6)  # the belt stands, and nobody shows it
    scene.move(2, [381, 381, 381, 400, 420, 440])
    assert scene.causes == [PartCause.NONE, PartCause.CROSSING]


def test_who_stops_watching_says_what_nobody_will_know() -> None:
    lost = Scene()
    lost.move(1, [300, 320, 340])
    lost.wait(2)
    assert [each.cause for each in lost.watch.end(lost.now_s)] == [PartCause.RESTART]

    unsure = Scene()
    unsure.move(1, [360, 380], hits=1)
    unsure.move(1, [400], hits=2)
    assert [each.cause for each in unsure.watch.end(unsure.now_s)] == [PartCause.RESTART]

    quiet = Scene()
    quiet.move(1, range(300, 420, 20))
    quiet.show(bottle(2, 200))  # it is in view: who watches next sees it
    assert quiet.watch.end(quiet.now_s) == []


def test_who_watches_next_says_what_may_have_passed_between_the_two() -> None:
    first = Scene()
    assert first.watch.end(first.now_s + 1.0) == []
    second = CrossingWatch(RULE, first.watch.left())
    (blind,) = second.take(ObjectsFrame(first.now_s + 5.0, SIZE_WH, 1))
    assert (blind.at_s, blind.cause) == (first.now_s, PartCause.RESTART)


def test_a_machine_that_slept_does_not_know_what_passed() -> None:
    scene = Scene()
    scene.move(1, [300, 320, 340, 360])
    scene.watch.slept(30.0)
    assert [each.cause for each in scene.move(1, [400])] == [PartCause.LATE, PartCause.CROSSING]
    assert scene.move(1, range(420, 500, 20)) == []


def test_a_defect_that_covers_a_part_hides_none() -> None:
    scene = Scene()
    scene.move(1, range(300, 460, 20), class_name="crack", also=("bottle",))
    assert scene.causes == [PartCause.CROSSING]


def test_what_crossed_before_a_gap_and_is_on_the_line_behind_it_is_not_accepted_twice() -> None:
    for number, after_s in ((1, 0.5), (2, 0.5), (2, 60.0)):
        scene = Scene()
        scene.move(1, [*range(300, 400, 20), *[386] * 9])  # the belt stands
        scene.show(bottle(number, 381), after_s=after_s)
        scene.move(number, range(400, 500, 20))
        assert PartCause.NONE not in scene.causes[1:]
        assert scene.causes[-1] is PartCause.CROSSING


def test_who_comes_behind_one_that_is_seen_on_the_line_is_a_part_of_its_own() -> None:
    scene = Scene()
    scene.move(1, range(300, 420, 20))
    for x in range(350, 480, 20):
        scene.show(bottle(1, x + 50), bottle(2, x))
    assert scene.causes == [PartCause.NONE] * 2


def test_a_near_miss_that_is_seen_again_is_an_object() -> None:
    """It was seen twice at the entry, and well behind the line: just where the belt must have brought it."""
    scene = Scene()
    scene.move(1, [200], hits=1)
    scene.move(1, [220], hits=2)
    scene.wait(14)
    assert scene.watch.near_misses == 1
    scene.move(2, [520, 540], hits=1)
    scene.move(2, [560])
    assert scene.causes == [PartCause.CROSSING]


def test_a_number_that_comes_back_elsewhere_is_another_object() -> None:
    """The belt started while nothing was seen on it, and the tracker took the next object for the one that stood."""
    scene = Scene()
    scene.move(1, [*range(200, 300, 20), *[280] * 9])
    scene.wait(8)
    scene.move(1, range(20, 480, 20))
    scene.wait()
    assert sorted(scene.causes) == [PartCause.NONE, PartCause.CROSSING]
