# SPDX-License-Identifier: AGPL-3.0-or-later
"""Live pages: all cameras as tiles, one camera as it sends it, and regions drawn on an image of it."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from vision_line.desk.live.camera_still import next_keyframe
from vision_line.desk.live.live_cameras import LiveCamera, newest_kept_image, read_live_camera
from vision_line.desk.local_time import plant_clock
from vision_line.desk.rendering import page
from vision_line.desk.services import DeskServices, Services

router = APIRouter()


@dataclass(frozen=True, slots=True)
class LiveState:
    """Whether the run's feed is followed, and how many browsers watch."""

    followed: bool
    browsers: int


@router.get("/live", include_in_schema=False)
def grid_page() -> HTMLResponse:
    """Show all cameras of the run that goes on."""
    return page("live.html")


@router.get("/live/{camera}", include_in_schema=False)
def camera_page(services: Services, camera: str) -> HTMLResponse:
    """Show one camera as it sends it."""
    return page("live_camera.html", camera=_known(services, camera))


@router.get("/live/{camera}/regions", include_in_schema=False)
def regions_page(services: Services, camera: str) -> HTMLResponse:
    """Have regions of interest drawn, and say them as TOML."""
    return page("live_regions.html", camera=_known(services, camera))


@router.get("/api/v1/live")
def live(services: Services) -> LiveState:
    """Return whether anybody watches live video, so that the feed is followed, and how many browsers do."""
    return LiveState(services.live.is_followed, services.live.watchers)


@router.get("/api/v1/live/cameras/{camera}/snapshot", include_in_schema=False)
def snapshot(services: Services, camera: str) -> Response:
    """Serve the camera's next keyframe, or the newest image that was kept of it; a header says which."""
    _known(services, camera)
    if (jpeg := next_keyframe(services.reader.directory, camera)) is not None:
        return _image(jpeg, "A keyframe of now.")
    with services.reader.open() as connection:
        kept = newest_kept_image(connection, services.reader.directory, camera)
    if kept is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "it sends none now, and none was kept")
    return _image(
        kept[0], f"The newest image that was kept, of {plant_clock().moment(kept[1])}: no keyframe comes now."
    )


def _image(jpeg: bytes, taken: str) -> Response:
    return Response(jpeg, media_type="image/jpeg", headers={"X-Taken": quote(taken)})


def _known(services: DeskServices, name: str) -> LiveCamera:
    with services.reader.open() as connection:
        camera = read_live_camera(connection, name)
    if camera is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such camera in these records")
    return camera
