# SPDX-License-Identifier: AGPL-3.0-or-later
"""The web application: pages for people, JSON below `/api/v1` for programs; nothing without a session."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus

from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response

from vision_line import __version__
from vision_line.desk import audit_trail
from vision_line.desk.access import Access
from vision_line.desk.body_limit import BodyLimit
from vision_line.desk.cameras import camera_pages, recipe_pages
from vision_line.desk.cases import case_pages
from vision_line.desk.cases.record_check import RecordCheck
from vision_line.desk.central import plant_page
from vision_line.desk.central.box_addresses import BoxAddress
from vision_line.desk.central.central_source import CentralSource
from vision_line.desk.central.in_boxes import InBoxes, KnownBoxes
from vision_line.desk.challenges import challenge_pages
from vision_line.desk.charts import chart_pages
from vision_line.desk.figures import figure_pages
from vision_line.desk.fleet_door import FleetDoor
from vision_line.desk.found import files_by_hash, gallery, media
from vision_line.desk.found.file_source import FileSource, OwnFiles
from vision_line.desk.guard import Guard
from vision_line.desk.in_plant_time import InPlantTime
from vision_line.desk.inspected import overview
from vision_line.desk.invalid_request import request_problem
from vision_line.desk.live import live_pages, live_sockets
from vision_line.desk.live.live_hub import LiveHub
from vision_line.desk.part_charts import part_chart_pages
from vision_line.desk.parts import lot_pages, part_pages, part_triggers
from vision_line.desk.record_reader import NoRecordsError, RecordReader
from vision_line.desk.recorded_clock import RecordedClock
from vision_line.desk.rendering import assets, page
from vision_line.desk.report import report_pages
from vision_line.desk.reviewing import kept_frames, review_pages
from vision_line.desk.services import DeskServices, NotAllowedError, NotSignedInError, require, services_of
from vision_line.desk.users import account_pages, sign_in, user_pages
from vision_line.desk.users.sessions import Role, Sessions
from vision_line.desk.users.sign_in_check import SignInCheck
from vision_line.errors import ConfigError, RunError, VisionLineError
from vision_line.parts.line_commands import LineCommands, PartAsked, SendPart

logger = logging.getLogger(__name__)

#: What each room of the desk serves to everybody who is signed in.
_ROUTERS: tuple[APIRouter, ...] = (
    overview.router,
    gallery.router,
    media.router,
    part_pages.router,
    part_triggers.router,
    lot_pages.router,
    review_pages.router,
    kept_frames.router,
    figure_pages.router,
    camera_pages.router,
    recipe_pages.router,
    case_pages.router,
    chart_pages.router,
    part_chart_pages.router,
    live_pages.router,
    live_sockets.router,
    report_pages.router,
    challenge_pages.router,
    audit_trail.router,
    account_pages.router,
    user_pages.router,
)
_OF_USERS = (account_pages.router, user_pages.router)
#: What the desk of all boxes serves too, as far as it reads; and what of it is about a box's own files.
_OF_ALL_BOXES: tuple[APIRouter, ...] = (
    gallery.router,
    media.router,
    part_pages.router,
    lot_pages.router,
    camera_pages.router,
    chart_pages.router,
    audit_trail.router,
)
_AT_THE_BOX = frozenset({"/charts/baseline", "/api/v1/baselines", "/api/v1/silences"})
#: How errors are answered; the first kind that fits counts.
_STATUS: Mapping[type[Exception], HTTPStatus] = {
    NotSignedInError: HTTPStatus.UNAUTHORIZED,
    NotAllowedError: HTTPStatus.FORBIDDEN,
    ConfigError: HTTPStatus.BAD_REQUEST,
    VisionLineError: HTTPStatus.SERVICE_UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """What programs get instead of an answer: what is wrong, in one sentence."""

    error: str


#: What is described of them; FastAPI's own answer to a wrong question, 422, is never given.
_REFUSALS: dict[int | str, dict[str, object]] = {
    "4XX": {"model": Refusal, "description": "The question is wrong, or who asks may not."},
    "503": {"model": Refusal, "description": "There are no records or no lanes, or they cannot be asked now."},
}
_FOR_EVER = "public, max-age=31536000, immutable"


def make_application(
    reader: RecordReader,
    access: Access,
    say_link: Callable[[str], None],
    sessions: Sessions,
    check: SignInCheck,
    send_part: SendPart,
    fleet_door: FleetDoor | None = None,
) -> Guard:
    """Return the application for the records of `reader`, to be reached as `access` says, behind its guard.

    `say_link` gets the secret of the next link that opens a session; `send_part` tells who decides that a part begins
    to pass. Whom `fleet_door` lets in gets images and clips by their hash, without a session.
    """
    services = DeskServices(
        reader=reader,
        sessions=sessions,
        sign_in=check,
        access=access,
        say_link=say_link,
        files=OwnFiles(reader.directory),
        record_check=RecordCheck(reader.directory),
        live=LiveHub(reader.directory),
        commands=LineCommands(reader.directory, send_part),
        fleet_door=fleet_door,
    )
    application = _assembled(services, _ROUTERS)
    application.include_router(files_by_hash.router)
    return Guard(application, access.hosts(), access.schemes)  # outside of all, so that faults have the headers too


def make_central_application(
    source: CentralSource,
    files: FileSource,
    addresses: Mapping[str, BoxAddress],
    access: Access,
    say_link: Callable[[str], None],
    sessions: Sessions,
    check: SignInCheck,
) -> Guard:
    """Return the application for the records of all boxes: what reads them, and nothing that changes a box.

    `addresses` are those of the boxes' own desks. Live view, reviews, challenges and changes are there.
    """
    services = DeskServices(
        reader=source,
        sessions=sessions,
        sign_in=check,
        access=access,
        say_link=say_link,
        files=files,
        record_check=RecordCheck(source.directory),
        live=LiveHub(source.directory),
        commands=LineCommands(source.directory, _no_part),
    )
    application = _assembled(services, (plant_page.router, *map(_reading, _OF_ALL_BOXES), *_OF_USERS))
    application.state.addresses = addresses
    application.add_middleware(InBoxes, known=KnownBoxes(source.url))
    return Guard(application, access.hosts(), access.schemes)


def _no_part(part: PartAsked) -> int:
    raise RunError(f"part {part.part_id!r}: parts are announced at the box that decides them")


def _reading(router: APIRouter) -> APIRouter:
    """Return those routes of a router that read records of all boxes."""
    found = APIRouter()
    found.routes += [
        route
        for route in router.routes
        if isinstance(route, APIRoute) and (route.methods or set()) <= {"GET"} and route.path not in _AT_THE_BOX
    ]
    return found


def _assembled(services: DeskServices, routers: Sequence[APIRouter]) -> FastAPI:
    """Return an application with these routes for everybody who is signed in."""
    application = FastAPI(
        title="vision-line desk", version=__version__, docs_url=None, redoc_url=None, openapi_url=None
    )
    application.state.services = services
    application.add_middleware(BodyLimit)
    application.add_middleware(InPlantTime, clock=RecordedClock(services.reader))
    application.include_router(sign_in.router)
    application.include_router(_open_routes())
    for router in (*routers, _description(application)):
        application.include_router(router, dependencies=[Depends(require(Role.READER))], responses=_REFUSALS)
    application.add_exception_handler(Exception, _refuse)
    for kind in (HTTPException, RequestValidationError, *_STATUS):
        application.add_exception_handler(kind, _refuse)
    return application


def _open_routes() -> APIRouter:
    """Return what needs no session: what pages load, which says nothing of the records."""
    router = APIRouter(include_in_schema=False)

    @router.get("/static/{name}")
    def asset(name: str) -> Response:
        if name not in assets():
            raise HTTPException(HTTPStatus.NOT_FOUND)
        data, content_type = assets()[name]
        return Response(data, media_type=content_type, headers={"Cache-Control": _FOR_EVER})

    return router


def _description(application: FastAPI) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/openapi.json")
    def openapi() -> JSONResponse:
        return JSONResponse(application.openapi())

    return router


def _refuse(request: HTTPConnection, error: Exception) -> Response:
    """Answer what went wrong, also of a WebSocket that is not open yet: one sentence, as a page or as JSON."""
    status, sentence = _said_of(error)
    headers = error.headers if isinstance(error, HTTPException) else None
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, VisionLineError):
        logger.error("%s failed", request.url.path, exc_info=error)
    if request.url.path.startswith("/api/"):
        return JSONResponse(asdict(Refusal(sentence)), status, headers)
    if isinstance(error, NotSignedInError) and isinstance(request, Request):
        return _ask_to_sign_in(request, status)
    answer = page("error.html", status, sentence=sentence, waits=isinstance(error, NoRecordsError))
    answer.headers.update(headers or {})
    return answer


def _ask_to_sign_in(request: Request, status: int) -> Response:
    """Say how to sign in; afterwards the page that was asked for is shown."""
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    try:
        return sign_in.way_in(services_of(request), status, asked if request.method == "GET" else "/")
    except VisionLineError as exc:  # the file of the users cannot be read
        return _refuse(request, exc)


def _said_of(error: Exception) -> tuple[int, str]:
    """Return status and sentence."""
    match error:
        case HTTPException():
            return error.status_code, str(error.detail)
        case RequestValidationError():
            return HTTPStatus.BAD_REQUEST, request_problem(error.errors())
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            return status, str(error)
    return HTTPStatus.INTERNAL_SERVER_ERROR, "this is a fault of the desk; its terminal says more"
