# SPDX-License-Identifier: AGPL-3.0-or-later
"""All that a desk answers, as its application has it: so that no route is left out of what every route must do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from tests.fakes.desk import DeskUnderTest

from vision_line.desk.services import Requirement
from vision_line.desk.users.sessions import Role


@dataclass(frozen=True)
class DeskRoute:
    """A path and a method, `WS` of a WebSocket.

    `roles` are what it asks for, `asked` the names in its query, `keys` those of the JSON that it takes, or None.
    """

    path: str
    method: str
    roles: Sequence[Role]
    asked: Sequence[str]
    keys: Sequence[str] | None


def application_of(desk: DeskUnderTest) -> FastAPI:
    """Return the application behind the guard."""
    found = desk.application.app
    assert isinstance(found, FastAPI)
    return found


def routes_of(application: FastAPI) -> Iterator[DeskRoute]:
    """Yield each route, whatever it is."""
    for route in application.routes:
        context: Any = getattr(route, "include_context", None)
        outer = [one.dependency for one in context.dependencies] if context else []
        inner_routes: list[Any] = route.original_router.routes if context else [route]  # type: ignore[attr-defined]
        for one in inner_routes:
            dependant: Any = getattr(one, "dependant", None)
            assert dependant is not None, f"{one} has no dependencies: nothing could ask for a role"
            calls = [*outer, *(inner.call for inner in dependant.dependencies)]
            roles = [call.role for call in calls if isinstance(call, Requirement)]
            every = list(_with_inner(dependant))
            asked = [parameter.alias for each in every for parameter in each.query_params]
            bodies = [parameter.field_info.annotation for each in every for parameter in each.body_params]
            keys = [key for body in bodies for key in _keys(body)] if bodies else None
            for method in sorted(getattr(one, "methods", {"WS"})):
                yield DeskRoute(one.path, method, roles, asked, keys)


def _with_inner(dependant: Any) -> Iterator[Any]:
    yield dependant
    for inner in dependant.dependencies:
        yield from _with_inner(inner)


def _keys(body: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in body.model_fields.items()]
