# SPDX-License-Identifier: AGPL-3.0-or-later
"""The comparison with peers counts rightly: ages, boxes, CPU time, and where results lie."""

from __future__ import annotations

import os
import threading
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from benchmarks.peers import accounts
from benchmarks.peers.ages import MOST_AGE_S, count_inspected
from benchmarks.peers.box_agreement import LEAST_BOXES, compare_boxes, iou
from benchmarks.peers.job import Job, Observed, Result
from benchmarks.peers.loads import LOADS, Load, SceneKind, scene_for, street_frames
from benchmarks.peers.plain_detector import PADDING, letterbox, place
from benchmarks.peers.vision_line_run import luma_of
from benchmarks.peers.witness import SAMPLE_AT, SAMPLE_EVERY, Witness, is_sampled
from benchmarks.rounds import Rounds, folder_of
from benchmarks.stamps import read_stamp, stamp

from vision_line.devices.model.model import open_model

FPS = 25.0


def result(at_s: float, number: int | None, camera: int = 0) -> Result:
    return Result(at_s, camera, number, None)


@pytest.mark.parametrize("load", LOADS, ids=str)
def test_a_stamp_is_read_at_every_load(load: Load) -> None:
    """From luma and from colours."""
    width, height = load.size_wh
    luma = np.full((height, width), 90, np.uint8)
    stamp(luma, 1874)

    assert read_stamp(luma) == read_stamp(np.dstack([luma] * 3)) == 1874


def test_an_age_counts_from_when_the_camera_sent_the_frame() -> None:
    """Frame n is sent n / fps after the camera's own start."""
    starts_s = {0: 100.0, 1: 200.0}
    counted = count_inspected([result(104.1, 100), result(204.3, 100, camera=1)], starts_s, FPS)

    assert (counted.fresh, counted.cameras) == (2, 2)
    assert counted.p50_ms == pytest.approx(300)
    assert counted.p99_ms == pytest.approx(300)


def test_a_frame_older_than_the_limit_does_not_count() -> None:
    """It is shown as late, and its age stays in the percentiles."""
    results = [result(100 + n / FPS + age_s, n) for n, age_s in enumerate((0.1, MOST_AGE_S + 0.01))]
    counted = count_inspected(results, {0: 100.0}, FPS)

    assert (counted.fresh, counted.late, counted.cameras) == (1, 1, 1)
    assert counted.p99_ms == pytest.approx(1000 * MOST_AGE_S + 10)


def test_a_frame_counts_once_and_only_with_a_stamp() -> None:
    """A peer that shows a frame twice, or a black one, has not inspected more."""
    counted = count_inspected([result(100.1, 0), result(100.2, 0), result(100.3, None)], {0: 100.0}, FPS)

    assert (counted.fresh, counted.repeated, counted.unstamped, counted.results) == (1, 1, 1, 3)


def test_a_repeated_frame_has_the_age_of_its_first_result() -> None:
    """In whatever order the threads noted them."""
    counted = count_inspected([result(100.9, 0), result(100.1, 0)], {0: 100.0}, FPS)

    assert (counted.fresh, counted.late) == (1, 0)


def test_a_frame_from_the_future_is_an_error() -> None:
    """The starts then belong to another run of the cameras, and no age is worth anything."""
    with pytest.raises(ValueError, match="before they were sent"):
        count_inspected([result(100.1, 25)], {0: 100.0}, FPS)


def boxes(*corners: float, score: float = 0.9, class_id: int = 0) -> list[list[float]]:
    return [[x, x, x + 10, x + 10, score, class_id] for x in corners]


def test_the_same_boxes_agree() -> None:
    """Of both sides, each is counted."""
    agreement = compare_boxes([(boxes(0, 50), boxes(0.5, 50.5))] * LEAST_BOXES, 0.5)

    assert (agreement.boxes, agreement.matched) == (4 * LEAST_BOXES, 4 * LEAST_BOXES)
    assert agreement.right


@pytest.mark.parametrize(
    "found",
    [boxes(0), boxes(0, 50, 90, 130), boxes(0, 70), [*boxes(0), *boxes(50, class_id=1)]],
    ids=["one missing", "two invented", "one elsewhere", "one of another class"],
)
def test_other_boxes_do_not_agree(found: list[list[float]]) -> None:
    """Whichever side has them."""
    assert not compare_boxes([(found, boxes(0, 50))] * LEAST_BOXES, 0.5).right


def test_a_box_at_the_threshold_may_be_missing() -> None:
    """Decoders and resizers differ by less than the margin."""
    agreement = compare_boxes([(boxes(0), [*boxes(0), *boxes(50, score=0.55)])] * LEAST_BOXES, 0.5)

    assert agreement.share == 1


def test_too_few_boxes_are_no_agreement() -> None:
    """Nothing found in nothing proves nothing."""
    agreement = compare_boxes([([], [])] * 100, 0.5)

    assert not agreement.right
    assert "NOT CHECKED" in str(agreement)


def test_intersection_over_union() -> None:
    assert iou([0, 0, 10, 10, 1, 0], [5, 0, 15, 10, 1, 0]) == pytest.approx(1 / 3)
    assert iou([0, 0, 10, 10, 1, 0], [20, 20, 30, 30, 1, 0]) == 0


def test_the_witness_keeps_the_results_of_its_window(tmp_path: Path) -> None:
    """Those before are not counted, boxes are kept of sampled frames, and the end comes when all is written."""
    ended = threading.Event()
    job = Job(["a"], "b", "m", "o", (192, 320), 0.5, 0.7, 0.3, 0.3, os.getpid(), str(tmp_path))
    witness = Witness(job, ended.set)
    witness.note(0, 1, lambda: boxes(1))
    number = 1
    while not ended.wait(0.01):
        number += 1
        witness.note(0, number, lambda: boxes(1))
    observed = Observed.read(job.result)

    assert observed.results
    assert all(observed.started_s <= seen.at_s < observed.ended_s for seen in observed.results)
    assert all((seen.boxes == boxes(1)) is is_sampled(seen.number) for seen in observed.results)
    assert observed.cores
    assert observed.server_cores >= 0


def test_one_frame_in_25_is_sampled_and_none_without_a_number() -> None:
    assert [number for number in range(2 * SAMPLE_EVERY) if is_sampled(number)] == [SAMPLE_AT, SAMPLE_EVERY + SAMPLE_AT]
    assert not is_sampled(None)


def test_cores_by_kind_of_thread() -> None:
    """A thread that was born between counts whole, one that ended does not count."""
    before = {(1, 1): ("camera", 3.0), (1, 9): ("ended", 5.0)}
    after = {(1, 1): ("camera", 4.0), (1, 2): ("camera", 0.5), (2, 2): ("native", 1.0)}

    assert accounts.cores(before, after, 2.0) == {"camera": 0.75, "native": 0.5}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("camera cam01", "camera"), ("Thread-12", "Thread"), ("rtpjitterbuffe", "rtpjitterbuffe"), ("7", "7")],
)
def test_kinds_of_threads(name: str, kind: str) -> None:
    assert accounts.kind_of(name) == kind


def test_this_process_is_in_its_own_accounts() -> None:
    """By the names that Python gave its threads."""
    leave = threading.Event()
    thread = threading.Thread(target=leave.wait, name="waiting 7")
    thread.start()
    kinds = {kind for (process, _), (kind, _) in accounts.threads().items() if process == os.getpid()}
    leave.set()
    thread.join()

    assert {"MainThread", "waiting"} <= kinds
    assert accounts.peak_mib() > 1
    assert accounts.process_seconds(os.getpid()) > 0


def test_a_server_that_has_ended_is_an_error() -> None:
    with pytest.raises(ProcessLookupError):
        accounts.process_seconds(2**22 + 1)  # beyond the largest process id


def test_a_job_and_what_was_observed_are_read_as_written(tmp_path: Path) -> None:
    """By another process."""
    job = Job(["rtsp://a"], "b", "m", "o", (192, 320), 0.5, 0.7, 5.0, 15.0, 7, str(tmp_path))
    observed = Observed(
        1.0, 2.0, {"camera": 0.5}, 0.1, 300.0, [Result(1.5, 0, 12, boxes(3)), Result(1.6, 0, None, None)]
    )
    observed.write(job.result)
    again = Job.read(str(job.write()))

    assert (again.urls, tuple(again.shape_hw), again.result) == (job.urls, job.shape_hw, job.result)
    assert Observed.read(again.result) == observed


def test_letterbox_keeps_the_proportions() -> None:
    placed = place((640, 360), (192, 320))
    image = letterbox(np.full((360, 640, 3), 7, np.uint8), placed, (192, 320))

    assert (placed.content_wh, placed.left, placed.top, placed.scale) == ((320, 180), 0, 6, 0.5)
    assert set(np.unique(image[:6])) | set(np.unique(image[-6:])) == {PADDING}
    assert set(np.unique(image[6:-6])) == {7}


def test_the_luma_that_was_inspected_bears_the_stamp() -> None:
    """Of a frame whose rows are longer than its width."""
    import av

    planes = np.full((540, 636), 90, np.uint8)
    stamp(planes[:360], 77)
    frame = av.VideoFrame.from_ndarray(planes, "yuv420p")

    assert luma_of(frame).shape == (360, 636)
    assert read_stamp(luma_of(frame)) == 77


def test_the_shipped_model_is_shown_boards() -> None:
    assert scene_for(open_model(None)) is SceneKind.BOARDS


@pytest.mark.parametrize(("number", "load"), list(product((0, 1), LOADS)), ids=str)
def test_street_views_fill_the_frame(number: int, load: Load) -> None:
    frame = next(street_frames(number, load.size_wh))

    assert (frame.width, frame.height) == load.size_wh


def test_results_of_processors_lie_beside_each_other() -> None:
    """The same processor has one folder, whatever trade marks and frequencies its name brings."""
    assert folder_of("Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz", "AVX-512 VNNI") == "intel-xeon-gold-6130-avx-512-vnni"
    assert folder_of("AMD EPYC 7B13 64-Core Processor", "AVX2") == "amd-epyc-7b13-64-core-avx2"
    assert folder_of("Intel(R) Xeon(R) Processor", "AMX INT8") == "intel-xeon-amx-int8"


def test_ratios_leave_failed_rounds_of_the_base_out() -> None:
    rounds = Rounds("frames/s", {"a": [2.0, 3.0], "b": [1.0, 0.0]}, ["a", "b"])

    assert rounds.ratio("a", "b") == (2.0, 2.0, 2.0)


def test_the_interval_of_a_ratio_narrows_with_more_rounds() -> None:
    """And holds the median; of rounds that all agree it is a point."""
    few = Rounds("frames/s", {"a": [0.9, 1.0, 1.1], "b": [1.0] * 3}, [])
    many = Rounds("frames/s", {"a": [0.9, 1.0, 1.1] * 30, "b": [1.0] * 90}, [])
    alike = Rounds("frames/s", {"a": [2.0, 3.0], "b": [1.0, 1.5]}, [])

    assert [*few.interval("a", "b")] == pytest.approx([0.9, 1.1])
    low, high = many.interval("a", "b")
    assert 0.9 <= low <= 1.0 <= high <= 1.1
    assert high - low < 0.2
    assert alike.interval("a", "b") == (2.0, 2.0)
