# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a page's form sends: a few fields of text, each perhaps more than once."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends
from fastapi.exceptions import HTTPException
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request

_FIELDS = "application/x-www-form-urlencoded"
#: A page of events with all of them selected, and what else is on it.
_MOST_FIELDS = 600

#: By name; the last one counts where one is expected.
Fields = ImmutableMultiDict[str, str]


async def sent_fields(request: Request) -> Fields:
    """Return the fields that a page sent; the body's limit bounds how much.

    Raises:
        HTTPException: it sent something else.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FIELDS:
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"expected {_FIELDS}")
    try:
        body = (await request.body()).decode()
        return ImmutableMultiDict(parse_qsl(body, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError as exc:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "expected a few fields of text") from exc


SentFields = Annotated[Fields, Depends(sent_fields)]
