# SPDX-License-Identifier: AGPL-3.0-or-later
"""The cameras of a plant as the planner sees them. Pure."""

from __future__ import annotations

from vision_line.config.models import Stream
from vision_line.config.plant_load import LoadedPlant
from vision_line.fleet.workload import FleetCamera, Workload


def fleet_cameras(plant: LoadedPlant) -> dict[str, FleetCamera]:
    """Return the enabled cameras by name."""
    pixels_s = round(plant.fleet.camera_mpixels_s * 1e6)
    found = {}
    for stream in plant.loaded.config.enabled_streams:
        own = plant.cameras[stream.name]
        wanted = stream.inspect_fps or max(stream.spare_fps, stream.safe_fps)
        found[stream.name] = FleetCamera(
            name=stream.name,
            wanted=Workload(round(wanted * 1000), pixels_s),
            least=Workload(round(least_fps(stream) * 1000), pixels_s),
            priority=own.priority,
            sessions=own.sessions,
            reachable_from=frozenset(own.reachable_from),
            pin=own.pin,
        )
    return found


def least_fps(stream: Stream) -> float:
    """Return how often a camera is inspected at the least, where there is no room for more."""
    return min(stream.inspect_fps or stream.safe_fps, stream.safe_fps)
