# SPDX-License-Identifier: AGPL-3.0-or-later
"""Six kinds of defect, each drawn into the copper where it is physically possible."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import hypot

import cv2
import numpy as np
from numpy.typing import NDArray

from vision_line.simulator.artwork import FINE, Artwork, Mask, blank, fill_polygon, fine
from vision_line.simulator.layout import CopperTrack

KINDS: tuple[str, ...] = ("open", "short", "mousebite", "spur", "copper", "pin-hole")

# A defect's box is the changed copper and this margin on each side, in frame pixels.
MARGIN_PX = 5.0
# Longer side of the box: log-uniform between these is aimed at, and nothing outside them is kept.
LONGER_SIDE_PX = (16.0, 32.0)
# Two defects of one board are at least this far apart.
APART_PX = 28.0
# What makes a defect one: a gap, a rim or a remaining width that is thinner would read as another kind.
CLEARANCE_PX = 2.5
# Defects of a trace keep this distance from its ends, where a pad or a via would hide them.
TERMINAL_PX = 8.0

Vector = NDArray[np.float64]  # (2,) xy


@dataclass(frozen=True, slots=True)
class Defect:
    """One defect in the copper: its class and the mask of the copper that it changed."""

    kind: str
    changed: Mask
    centre: tuple[float, float]


def place_defect(
    rng: np.random.Generator, artwork: Artwork, copper: Mask, kind: str, taken: tuple[Defect, ...] = ()
) -> tuple[Defect, Mask] | None:
    """Draw one defect of `kind` into a copy of `copper`.

    Returns the defect and the changed copper, or None when the board has no place for it. Defects keep
    `APART_PX` from those in `taken` and stay clear of the silkscreen.
    """
    nets = np.asarray(cv2.connectedComponents(copper, ltype=cv2.CV_16U)[1], np.uint16)
    site = _Site(rng, artwork, copper, nets)
    for _ in range(60):
        target = float(np.exp(rng.uniform(*np.log(LONGER_SIDE_PX)))) - 2 * MARGIN_PX
        shape = _SHAPES[kind](site, target)
        if shape is None:
            continue
        result = copper & ~shape if kind in _REMOVING else copper | (shape & artwork.outline)
        changed = result ^ copper
        defect = _measured(kind, changed)
        if defect is not None and _acceptable(defect, site, taken):
            return defect, result
    return None


def box_xyxy(changed: Mask) -> tuple[float, float, float, float] | None:
    """Measure the box of a changed mask in board pixels, margin included; None if nothing changed."""
    x, y, width, height = cv2.boundingRect(changed)
    if not width:
        return None
    return (
        x / FINE - MARGIN_PX,
        y / FINE - MARGIN_PX,
        (x + width) / FINE + MARGIN_PX,
        (y + height) / FINE + MARGIN_PX,
    )


def _measured(kind: str, changed: Mask) -> Defect | None:
    box = box_xyxy(changed)
    if box is None:
        return None
    longer = max(box[2] - box[0], box[3] - box[1])
    if not LONGER_SIDE_PX[0] <= longer <= LONGER_SIDE_PX[1]:
        return None
    return Defect(kind, changed, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))


def _acceptable(defect: Defect, site: _Site, taken: tuple[Defect, ...]) -> bool:
    near = any(hypot(defect.centre[0] - o.centre[0], defect.centre[1] - o.centre[1]) < APART_PX for o in taken)
    return not near and not cv2.countNonZero(defect.changed & site.artwork.silk)


@dataclass(frozen=True, slots=True)
class _Site:
    """A board that a defect is being sought for; `nets` labels the connected copper."""

    rng: np.random.Generator
    artwork: Artwork
    copper: Mask
    nets: NDArray[np.uint16]

    def blank(self) -> Mask:
        return blank(self.artwork.layout.size_wh)

    def edge_point(self, margin: float) -> tuple[CopperTrack, Vector, Vector, Vector] | None:
        """Pick a trace, a point on its axis `margin` away from its ends, and its direction and normal."""
        tracks = self.artwork.layout.tracks
        track = tracks[int(self.rng.integers(len(tracks)))]
        start, end = np.array(track.start), np.array(track.end)
        length = float(np.hypot(*(end - start)))
        if length < 2 * margin:
            return None
        along = (end - start) / length
        normal = np.array((-along[1], along[0])) * (1 if self.rng.random() < 0.5 else -1)
        return track, start + along * self.rng.uniform(margin, length - margin), along, normal

    def net_at(self, point: Vector) -> int:
        """Give the label of the copper at a board point, 0 for none or outside."""
        x, y = fine(point)
        height, width = self.nets.shape
        return int(self.nets[y, x]) if 0 <= x < width and 0 <= y < height else 0

    def gap_px(self, edge: Vector, normal: Vector, limit: float) -> float:
        """Measure the free way from just outside an edge along `normal`, at most `limit`."""
        for distance in np.arange(0.75, limit, 0.5):
            if self.net_at(edge + normal * distance):
                return float(distance)
        return limit

    def random_point(self, where: NDArray[np.bool_]) -> Vector | None:
        """Pick a board point where the mask holds, or None after some misses."""
        height, width = where.shape
        for _ in range(40):
            x, y = int(self.rng.integers(width)), int(self.rng.integers(height))
            if where[y, x]:
                return np.array((x, y)) / FINE
        return None

    def blob(self, centre: Vector, length: float, breadth: float, angle: float) -> Vector:
        """Make the (n, 2) outline of an irregular ellipse."""
        angles = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        radii = self.rng.uniform(0.82, 1.0, 14)
        x, y = np.cos(angles) * radii * length / 2, np.sin(angles) * radii * breadth / 2
        cos, sin = np.cos(angle), np.sin(angle)
        return np.asarray(centre + np.stack((x * cos - y * sin, x * sin + y * cos), axis=1), np.float64)


def _open(site: _Site, target: float) -> Mask | None:
    """Cut a whole trace: a gap with ragged ends."""
    gap = float(np.clip(target, 7.0, 18.0))
    spot = site.edge_point(gap / 2 + TERMINAL_PX)
    if spot is None:
        return None
    track, middle, along, normal = spot
    reach = normal * (track.width / 2 + 1.0)
    ragged = site.rng.uniform(-0.6, 0.6, 6)
    half = gap / 2
    outline = [
        middle - along * (half + ragged[0]) - reach,
        middle - along * (half + ragged[1]),
        middle - along * (half + ragged[2]) + reach,
        middle + along * (half + ragged[3]) + reach,
        middle + along * (half + ragged[4]),
        middle + along * (half + ragged[5]) - reach,
    ]
    mask = site.blank()
    fill_polygon(mask, np.array(outline))
    return mask


def _short(site: _Site, target: float) -> Mask | None:
    """Bridge the gap between a trace and another net."""
    spot = site.edge_point(TERMINAL_PX)
    if spot is None:
        return None
    track, middle, along, normal = spot
    edge = middle + normal * (track.width / 2)
    gap = site.gap_px(edge, normal, 18.0)
    other = site.net_at(edge + normal * (gap + 0.6))
    if gap >= 18.0 or gap < 5.0 or other in (0, site.net_at(middle)):
        return None
    breadth = float(np.clip(target * site.rng.uniform(0.5, 0.85), 4.5, 11.0))
    ends = site.rng.uniform(0.85, 1.15, 4) * breadth / 2
    inner, outer = edge - normal * 1.0, edge + normal * (gap + 1.5)
    waist = edge + normal * gap / 2
    outline = [
        inner - along * ends[0],
        waist - along * breadth * 0.42,
        outer - along * ends[1],
        outer + along * ends[2],
        waist + along * breadth * 0.42,
        inner + along * ends[3],
    ]
    mask = site.blank()
    fill_polygon(mask, np.array(outline))
    return mask


def _mousebite(site: _Site, target: float) -> Mask | None:
    """Bite into one edge of a trace, leaving it connected."""
    length = min(target, 14.0)
    spot = site.edge_point(length / 2 + TERMINAL_PX)
    # In a thinner trace a bite and what it leaves would both be too small to tell from an open.
    if spot is None or spot[0].width < 5.8:
        return None
    track, middle, along, normal = spot
    depth = track.width - max(track.width * float(site.rng.uniform(0.28, 0.42)), 2.0)
    bites = 1 if length < 8 else int(site.rng.integers(1, 4))
    mask = site.blank()
    for bite in range(bites):
        offset = (bite + 0.5) / bites - 0.5
        centre = middle + along * offset * length + normal * (track.width / 2)
        reach = depth * (1.0 if bite == bites // 2 else float(site.rng.uniform(0.7, 1.0)))
        fill_polygon(mask, site.blob(centre, length / bites * 1.1, 2.1 * reach, np.arctan2(along[1], along[0])))
    return mask


def _spur(site: _Site, target: float) -> Mask | None:
    """Let a thorn grow out of one edge into free space."""
    spot = site.edge_point(TERMINAL_PX)
    if spot is None:
        return None
    track, middle, along, normal = spot
    edge = middle + normal * (track.width / 2)
    room = min(site.gap_px(edge + along * side, normal, 30.0) for side in (-5.0, -2.5, 0.0, 2.5, 5.0))
    height = min(target, room - CLEARANCE_PX)
    if height < 5.0:
        return None
    base = float(np.clip(height * site.rng.uniform(0.6, 0.9), 5.0, 10.0))
    lean = along * site.rng.uniform(-0.2, 0.2) * height
    tip = float(site.rng.uniform(0.9, 1.6))
    foot = edge - normal * 1.0
    outline = [
        foot - along * base / 2,
        edge + normal * height * 0.5 - along * base * 0.36 + lean / 2,
        edge + normal * height - along * tip + lean,
        edge + normal * height + along * tip + lean,
        edge + normal * height * 0.5 + along * base * 0.36 + lean / 2,
        foot + along * base / 2,
    ]
    mask = site.blank()
    fill_polygon(mask, np.array(outline))
    return mask


def _copper(site: _Site, target: float) -> Mask | None:
    """Leave an island of copper in free space."""
    breadth = target * float(site.rng.uniform(0.6, 1.0))
    free = cv2.distanceTransform(255 - _solid(site), cv2.DIST_L2, 3)
    angle = float(site.rng.uniform(0, np.pi))
    centre = site.random_point(free >= (target / 2 + CLEARANCE_PX) * FINE)
    if centre is None:
        return None
    mask = site.blank()
    fill_polygon(mask, site.blob(centre, target, breadth, angle))
    return mask


def _solid(site: _Site) -> Mask:
    """Give the copper together with all that is not board: islands keep away from both."""
    solid: Mask = site.copper | ~site.artwork.outline
    solid[:FINE], solid[-FINE:], solid[:, :FINE], solid[:, -FINE:] = 255, 255, 255, 255
    return solid


def _pin_hole(site: _Site, target: float) -> Mask | None:
    """Make a hole inside a wide piece of copper."""
    length = min(target, 12.0)
    rim = cv2.distanceTransform(site.copper, cv2.DIST_L2, 3)
    centre = site.random_point(rim >= (length / 2 + 1.6) * FINE)
    if centre is None:
        return None
    mask = site.blank()
    breadth = length * float(site.rng.uniform(0.75, 1.0))
    fill_polygon(mask, site.blob(centre, length, breadth, float(site.rng.uniform(0, np.pi))))
    return mask


_SHAPES: dict[str, Callable[[_Site, float], Mask | None]] = {
    "open": _open,
    "short": _short,
    "mousebite": _mousebite,
    "spur": _spur,
    "copper": _copper,
    "pin-hole": _pin_hole,
}
_REMOVING = frozenset({"open", "mousebite", "pin-hole"})
