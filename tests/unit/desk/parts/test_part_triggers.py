# SPDX-License-Identifier: AGPL-3.0-or-later
"""Parts that programs say by HTTP: what the lanes are told, who may, and what is refused."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.fakes.bench_line import running_lanes, running_line
from tests.fakes.desk import ORIGIN, DeskUnderTest

from vision_line.desk.users.sessions import Role
from vision_line.parts.parts_file import FILE_NAME

PATH = "/api/v1/parts"
PASSWORD = "correct horse battery"  # noqa: S105 - nobody's


def test_a_part_goes_to_the_lanes(records: Path, client: TestClient) -> None:
    """Once for each request that has a name; what the lanes refuse is said in their words."""
    part = {"lane": "l1", "part_id": "B-1", "number": 17, "lot": "L-7", "request": "r-1"}
    with running_line(records), running_lanes(records):
        answers = [client.post(PATH, json=part, headers=ORIGIN) for _ in range(2)]
        plain = client.post(PATH, json={"lane": "l1"}, headers=ORIGIN)
        unknown = client.post(PATH, json={"lane": "no-lane"}, headers=ORIGIN)
    with closing(sqlite3.connect(records / FILE_NAME)) as connection:
        rows = connection.execute("SELECT sequence, part_id, lot FROM parts ORDER BY sequence").fetchall()

    assert [answer.status_code for answer in answers] == [202, 202]
    assert [answer.json() for answer in answers] == [{"lane": "l1", "part_id": "B-1", "sequence": 1}] * 2
    assert (plain.status_code, plain.json()) == (202, {"lane": "l1", "part_id": "", "sequence": 2})
    assert unknown.status_code == 409
    assert "no-lane" in unknown.json()["error"]
    assert rows == [(1, "B-1", "L-7"), (2, "", "")]


def test_where_no_lanes_run_the_answer_says_so(client: TestClient) -> None:
    answer = client.post(PATH, json={"lane": "l1", "part_id": "B-1"}, headers=ORIGIN)

    assert answer.status_code == 503
    assert "no vision-line lanes runs there" in answer.json()["error"]


@pytest.mark.parametrize(
    "part",
    [
        {},
        {"lane": "*"},
        {"lane": "../l1"},
        {"lane": "l1", "part_id": "x" * 65},
        {"lane": "l1", "part_id": "B\n1"},
        {"lane": "l1", "lot": "\x1b"},
        {"lane": "l1", "number": -1},
        {"lane": "l1", "number": 2**32},
        {"lane": "l1", "number": "17"},
        {"lane": "l1", "then": "more"},
        ["l1"],
    ],
)
def test_what_is_no_part_is_refused(client: TestClient, part: object) -> None:
    """Before anybody is asked: there are no lanes here, which would be said otherwise."""
    answer = client.post(PATH, json=part, headers=ORIGIN)

    assert answer.status_code == 400
    assert "x" * 65 not in answer.text


def test_only_quality_may_and_from_no_other_page(desk: DeskUnderTest, client: TestClient) -> None:
    assert client.post(PATH, json={"lane": "l1"}).status_code == 403
    assert client.post(PATH, json={"lane": "l1"}, headers={"Origin": "http://evil.example"}).status_code == 403
    desk.accounts.add("vera", Role.REVIEWER, PASSWORD, by="test")
    client.cookies.clear()
    assert desk.sign_in_as("vera", PASSWORD).status_code == 303
    refused = client.post(PATH, json={"lane": "l1"}, headers=ORIGIN)
    assert (refused.status_code, refused.json()["error"]) == (403, "this needs the role quality")


def test_the_description_says_what_is_sent_and_answered(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    operation = described["paths"][PATH]["post"]
    schemas = described["components"]["schemas"]

    assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/PartCommand")
    assert set(schemas["PartCommand"]["properties"]) == {"lane", "part_id", "number", "lot", "recipe", "request"}
    assert schemas["PartCommand"]["required"] == ["lane"]
    assert set(schemas["TakenPart"]["properties"]) == {"lane", "part_id", "sequence"}
    assert set(operation["responses"]) == {"202", "4XX", "503"}
