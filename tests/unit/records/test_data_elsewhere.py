# SPDX-License-Identifier: AGPL-3.0-or-later
"""Frames outside the host's memory: the few that people see go through a copy, and see what the device sees."""

from __future__ import annotations

from dataclasses import dataclass, field

import av
import numpy as np
import pytest
from tests.builders import make_frame

from vision_line.errors import DeviceError, SourceError
from vision_line.frames import Colour, ColourMatrix, ColourRange, Frame
from vision_line.ingest.fingerprint import fingerprint_frame
from vision_line.records.annotate import bgr_of


@dataclass
class DataElsewhere:
    """A frame's data on a device: it can only be copied."""

    content: av.VideoFrame
    copies: list[av.VideoFrame] = field(default_factory=list)

    def to_host(self) -> av.VideoFrame:
        """Return a new copy."""
        self.copies.append(self.content.reformat(format="nv12"))
        return self.copies[-1]


class BrokenData:
    """A frame's data on a device that failed."""

    def to_host(self) -> av.VideoFrame:
        """Fail."""
        raise DeviceError("cuda: the GPU has fallen off the bus")


def _content() -> av.VideoFrame:
    across, down = np.meshgrid(np.arange(64), np.arange(48))
    rgb = np.stack([across * 3, down * 4, across + down], axis=-1).astype(np.uint8)
    return av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="nv12")


def _frame(data: object) -> Frame:
    colour = Colour(ColourMatrix.BT709, ColourRange.FULL)
    return make_frame("dock-3", size_wh=(64, 48), data=data, colour=colour)


def test_people_see_the_copy() -> None:
    """Evidence and overlay are drawn from one copy, with the frame's own colour description."""
    data = DataElsewhere(_content())

    np.testing.assert_array_equal(bgr_of(_frame(data)), bgr_of(_frame(_content())))
    assert len(data.copies) == 1


def test_health_is_evaluated_from_the_copy() -> None:
    """The fingerprint is that of the same frame in the host's memory."""
    found, expected = fingerprint_frame(DataElsewhere(_content())), fingerprint_frame(_content())

    assert found is not None
    assert expected is not None
    np.testing.assert_array_equal(found.thumbnail, expected.thumbnail)
    assert found.sharpness == expected.sharpness


def test_device_that_fails_is_reported_as_the_cameras_error() -> None:
    """A frame that cannot be copied names its camera where it should have been recorded."""
    with pytest.raises(SourceError, match=r"'dock-3': FAILED: the frame cannot be copied: cuda: the GPU"):
        bgr_of(_frame(BrokenData()))
    with pytest.raises(DeviceError):
        fingerprint_frame(BrokenData())
