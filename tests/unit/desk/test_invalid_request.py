# SPDX-License-Identifier: AGPL-3.0-or-later
"""A request that cannot be answered: which parameter, what was found, what was expected; in words of ours."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from starlette.testclient import TestClient
from tests.fakes.desk import ORIGIN

from vision_line.desk.invalid_request import request_problem


class Sent(BaseModel):
    """Of each kind that a request may have."""

    model_config = ConfigDict(extra="forbid")

    whole: Annotated[int, Field(ge=1, lt=9)] = 1
    share: Annotated[float, Field(gt=0, le=1.5, allow_inf_nan=False)] = 1.0
    flag: bool = True
    name: Annotated[str, Field(min_length=1, max_length=3, pattern="[a-z]+")] = "a"
    names: Annotated[list[str], Field(min_length=1, max_length=2)] = ["a"]
    which: Literal["one", "two", "three"] = "one"
    inner: dict[str, int] = {}
    even: int = 2

    @field_validator("even")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError(f"found {value}, expected an even number")
        return value


def problem(**values: object) -> str:
    """Return what is said of values in a body."""
    with pytest.raises(ValidationError) as refused:
        Sent.model_validate(values)
    errors = refused.value.errors()
    for error in errors:
        error["loc"] = ("body", *error["loc"])
    return request_problem(errors)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"whole": "x"}, "whole: found 'x', expected a whole number"),
        ({"whole": 1.5}, "whole: found 1.5, expected a whole number"),
        ({"whole": "9" * 5000}, f"whole: found '{'9' * 76}..., expected a whole number with fewer digits"),
        ({"whole": None}, "whole: found null, expected a whole number"),
        ({"whole": 0}, "whole: found 0, expected at least 1"),
        ({"whole": 9}, "whole: found 9, expected less than 9"),
        ({"share": "x"}, "share: found 'x', expected a number"),
        ({"share": [1]}, "share: found a list, expected a number"),
        ({"share": 0}, "share: found 0, expected more than 0"),
        ({"share": 2}, "share: found 2, expected at most 1.5"),
        ({"share": "nan"}, "share: found 'nan', expected a finite number"),
        ({"flag": "perhaps"}, "flag: found 'perhaps', expected true or false"),
        ({"flag": {}}, "flag: found an object, expected true or false"),
        ({"name": 3}, "name: found 3, expected a text"),
        ({"name": "\ud800"}, "name: found '\\ud800', expected a text in UTF-8"),
        ({"name": ""}, "name: found 0 characters, expected at least 1"),
        ({"name": "abcd"}, "name: found 4 characters, expected at most 3"),
        ({"name": "X"}, "name: found 'X', expected what matches [a-z]+"),
        ({"names": "a"}, "names: found 'a', expected a list"),
        ({"names": []}, "names: found 0 values, expected at least 1"),
        ({"names": ["a"] * 3}, "names: found 3 values, expected at most 2"),
        ({"names": ["a", 1]}, "names.1: found 1, expected a text"),
        ({"which": "four"}, "which: found 'four', expected one of 'one', 'two', 'three'"),
        ({"inner": True}, "inner: found true, expected an object"),
        ({"even": 3}, "even: found 3, expected an even number"),
        ({"other": 1}, "other: is unknown"),
        ({"whole": 0, "even": 1}, "whole: found 0, expected at least 1; even: found 1, expected an even number"),
    ],
)
def test_each_kind_has_one_sentence(values: dict[str, object], sentence: str) -> None:
    assert problem(**values) == sentence


def test_what_nobody_foresaw_is_still_no_word_of_a_library() -> None:
    error = ErrorDetails(type="url_syntax", loc=("query", "at"), input=5, msg="Input should be a URL")
    assert request_problem([error]) == "at: found 5, expected another value"


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("/api/v1/trail?before=x", "before: found 'x', expected a whole number"),
        ("/api/v1/trail?before=0", "before: found '0', expected at least 1"),
        ("/api/v1/trail?by_self=perhaps", "by_self: found 'perhaps', expected true or false"),
        ("/api/v1/coverage?last=12345", "last: found 5 characters, expected at most 3"),
        ("/api/v1/events?verdict=rejects", "verdict: found 'rejects', expected accept or warn or reject"),
        ("/api/v1/events?verdict=reject&verdict=all", "verdict: found 'all', expected accept or warn or reject"),
        ("/api/v1/events?reviewed=yes", "reviewed: found 'yes', expected reviewed or not reviewed or overruled"),
        (
            "/api/v1/parts?verdict=bad",
            "verdict: found 'bad', expected accept or warn or reject or not_inspected",
        ),
        ("/api/v1/events?after_utc=nan&after=1", "after_utc: found 'nan', expected a finite number"),
    ],
)
def test_the_desk_answers_with_it(client: TestClient, question: str, sentence: str) -> None:
    answer = client.get(question)
    assert (answer.status_code, answer.json()) == (400, {"error": sentence})


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("{", "the body: found no JSON, expected an object"),
        ("[]", "the body: found a list, expected an object"),
        (json.dumps({"verdict": "confirmed"}), "item: found nothing, expected a value"),
    ],
)
def test_a_body_that_is_none_is_said(client: TestClient, body: str, sentence: str) -> None:
    headers = {**ORIGIN, "Content-Type": "application/json"}
    answer = client.post("/api/v1/review/answers", content=body, headers=headers)
    assert (answer.status_code, answer.json()) == (400, {"error": sentence})
