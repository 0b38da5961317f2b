# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cameras that have their fault from the start on, served by a server of our own."""

from __future__ import annotations

from tests.fakes.rtsp.raw_server import RawCamera

from benchmarks.faults.videos import FPS, Kind, ensure_stamped_video, units_of

LONG_GROUP_S = 30
CHANGES_AFTER_S = 4
#: Of every fifty frames, with a keyframe each 25, these are lost; those after them, up to the next one, are damaged.
_PERIOD, _LOST = 2 * FPS, (45, 46)


def undescribed() -> RawCamera:
    """Return a camera that leaves its parameter sets out of the SDP, and seldom sends a keyframe."""
    return RawCamera(units_of(ensure_stamped_video(Kind(group=LONG_GROUP_S * FPS))), fps=FPS, describes_sets=False)


def digest_sha256() -> RawCamera:
    """Return a camera that wants a Digest of RFC 7616."""
    return RawCamera(units_of(ensure_stamped_video()), fps=FPS, auth=("sha256",))


def changes_size() -> RawCamera:
    """Return a camera whose frame becomes smaller while it plays."""
    large, small = units_of(ensure_stamped_video()), units_of(ensure_stamped_video(Kind(size_wh=(480, 270))))
    return RawCamera(large[: CHANGES_AFTER_S * FPS] + small[CHANGES_AFTER_S * FPS :], fps=FPS)


def loses_frames() -> RawCamera:
    """Return a camera some of whose frames never arrive."""
    units = units_of(ensure_stamped_video())
    return RawCamera(units, fps=FPS, lose=frozenset(n for n in range(len(units)) if n % _PERIOD in _LOST))


def is_damaged(number: int) -> bool:
    """Whether what shows this number is damaged. A lost frame's number was patched together by a decoder. Pure."""
    return number % _PERIOD >= min(_LOST)
