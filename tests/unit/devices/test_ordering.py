# SPDX-License-Identifier: AGPL-3.0-or-later
"""Results leave in the order of submission for each camera."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.builders import make_frame, make_inspection

from vision_line.devices.camera_order import CameraOrder
from vision_line.frames import Frame


@given(st.lists(st.sampled_from("abc"), max_size=30), st.randoms(use_true_random=False))
def test_any_order_of_finishing(cameras: list[str], random: object) -> None:
    """However the engine finishes, each camera's frames come out once, in order, as early as they can."""
    order = CameraOrder()
    frames = [make_frame(camera, number) for number, camera in enumerate(cameras)]
    tickets = [order.enter(frame, 0.0) for frame in frames]
    random.shuffle(tickets)  # type: ignore[attr-defined]
    finished: set[int] = set()
    released: list[Frame] = []

    for ticket in tickets:
        finished.add(ticket.frame.sequence)
        inspection = make_inspection(ticket.frame)
        released += [inspection.frame for inspection in order.finish(ticket, inspection)]
        waiting = [frame for frame in frames if frame not in released]
        assert len(order) == len(waiting)
        firsts = {camera: next((f for f in waiting if f.camera == camera), None) for camera in "abc"}
        assert not any(frame is not None and frame.sequence in finished for frame in firsts.values())

    for camera in "abc":
        assert [f for f in released if f.camera == camera] == [f for f in frames if f.camera == camera]
