# SPDX-License-Identifier: AGPL-3.0-or-later
"""The report from the desk: the command's bytes, links that lead to pages, and the head as a code."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from hashlib import sha256
from html import unescape
from pathlib import Path

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient
from tests.fakes.desk import ORIGIN, desk_over
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords
from tests.fakes.shift_records import made_shift
from typer.testing import CliRunner

from vision_line.cli.main import cli
from vision_line.desk.report import report_pages
from vision_line.desk.report.head_code import head_code

SHIFT = "2026-11-28/early"
HEAD = re.compile(r'when this was made: <span class="hash">([0-9a-f]{64})</span>')


@pytest.fixture(scope="module")
def shift(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return records of a shift of three cameras."""
    directory = tmp_path_factory.mktemp("shift")
    made_shift(directory, cameras=3, events=12)
    return directory


@pytest.fixture(scope="module")
def at_shift(shift: Path) -> Iterator[TestClient]:
    """Yield a client that is signed in at a desk over them."""
    with desk_over(shift, limit_s=60.0) as desk:
        desk.sign_in()
        yield desk.client


def timeless(text: str) -> str:
    """Return a report without the moment at which it was made."""
    found, count = re.subn(r">made [0-9: -]+<br>", ">made<br>", text)
    assert count == 1
    return found


def by_command(shift: Path, tmp_path: Path, *asked: str) -> str:
    output = tmp_path / "report.html"
    done = CliRunner().invoke(cli, ["report", "--record", str(shift), "-o", str(output), *asked])
    assert done.exit_code == 0, done.output
    return output.read_text(encoding="utf-8")


def test_the_file_is_the_commands(shift: Path, at_shift: TestClient, tmp_path: Path) -> None:
    """To the byte, but for the moment at which it was made."""
    answer = at_shift.get("/report/file", params={"shift": SHIFT})
    assert answer.headers["content-disposition"] == 'attachment; filename="report-2026-11-28-early.html"'
    assert timeless(answer.text) == timeless(by_command(shift, tmp_path, "--shift", SHIFT))
    times = {"since": "2026-11-28T07:00", "until": "2026-11-28T09:30"}
    by_time = at_shift.get("/report/file", params=times)
    options = [part for name, value in times.items() for part in (f"--{name}", value)]
    assert timeless(by_time.text) == timeless(by_command(shift, tmp_path, *options))
    assert 'filename="report-2026-11-28T07-00-00.html"' in by_time.headers["content-disposition"]


def test_the_file_has_no_link_and_asks_for_nothing(at_shift: TestClient) -> None:
    """It is read where the desk is not."""
    text = at_shift.get("/report/file", params={"shift": SHIFT}).text
    assert "<a " not in text
    assert not re.search(r'(src|href)="(?!data:)', text)


def test_links_of_the_opened_report_lead_to_pages(at_shift: TestClient) -> None:
    """Each one to a page that is about what the figure says."""
    text = at_shift.get("/report/open", params={"shift": SHIFT}).text
    links = {unescape(link) for link in re.findall(r'<a href="([^"]+)"', text)}
    assert len(links) > 12
    for link in links:
        assert at_shift.get(link).status_code == 200, link
    assert re.search(r'<a href="/events\?[^"]*verdict=reject&amp;challenges=without">\d+ ■</a>', text)
    without = re.sub(r"</?a[^>]*>", "", text)
    assert timeless(without) == timeless(at_shift.get("/report/file", params={"shift": SHIFT}).text)


def test_the_opened_report_may_have_its_own_style_and_nothing_else(at_shift: TestClient) -> None:
    answer = at_shift.get("/report/open", params={"shift": SHIFT})
    (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    policy = answer.headers["content-security-policy"]
    assert f"style-src 'sha256-{base64.b64encode(sha256(style.encode()).digest()).decode()}'" in policy
    assert "default-src 'none'; img-src data:" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy
    assert answer.headers["cache-control"] == "no-store"


def test_the_head_is_a_code_that_a_camera_reads(at_shift: TestClient) -> None:
    """As `verify --head` takes it."""
    text = at_shift.get("/report/file", params={"shift": SHIFT}).text
    found = HEAD.search(text)
    assert found is not None
    assert str(head_code(found[1])) in text
    assert read_code(found[1]) == found[1]
    assert head_code("") == ""


def read_code(head: str) -> str:
    """Draw a code as a browser does, a square for each part of its path, and read it."""
    svg = str(head_code(head))
    side = int(re.findall(r'viewBox="0 0 (\d+)', svg)[0])
    image = np.full((side, side), 255, np.uint8)
    (path,) = re.findall(r'stroke="#000" d="([^"]+)"', svg)
    x, y = 0.0, 0.0
    for command, values in re.findall(r"([Mmh])([-\d. ]+)", path):
        numbers = [float(value) for value in re.findall(r"-?\d*\.?\d+", values)]
        if command == "h":
            image[int(y), int(x) : int(x + numbers[0])] = 0
            x += numbers[0]
        else:
            x, y = (numbers[0], numbers[1]) if command == "M" else (x + numbers[0], y + numbers[1])
    large = cv2.resize(image, None, fx=8, fy=8, interpolation=cv2.INTER_NEAREST)
    # The older `QRCodeDetector` cannot read one such code in fifteen.
    return str(cv2.QRCodeDetectorAruco().detectAndDecode(large)[0])


def test_at_first_it_is_about_the_last_whole_shift(at_shift: TestClient) -> None:
    """Of today's clock, of which these records may know nothing."""
    shown = at_shift.get("/report").text
    last = at_shift.get("/report?shift=last").text
    links = [re.findall(r'href="(/report/open[^"]+)"', text) for text in (shown, last)]
    assert links[0] == links[1] != []
    assert at_shift.get(unescape(links[0][0])).status_code == 200


def test_without_shifts_it_is_about_the_newest_records(rows: DeskRecords, client: TestClient) -> None:
    rows.minute(rows.run(0, 600, "cam01"), "cam01", 0, inspected=90)
    (link,) = re.findall(r'href="(/report/file[^"]+)"', client.get("/report").text)
    answer = client.get(unescape(link))
    assert answer.status_code == 200
    assert "cam01" in answer.text
    assert "Report of this time" in client.get("/").text


def test_what_a_check_found_is_in_it(rows: DeskRecords, client: TestClient) -> None:
    """As with `--verify`; before one, that none was made."""
    rows.event(rows.run(0, 600, "cam01"), "cam01", 30)
    asked = "since=2026-11-28T20:00:00%2B00:00&until=2026-11-28T20:10:00%2B00:00"
    assert "it was not asked for when this report was made" in client.get(f"/report/file?{asked}").text
    assert client.post(f"/report/check?{asked}", headers=ORIGIN, follow_redirects=False).status_code == 303
    deadline_s = time.monotonic() + 30
    while "is being checked" in (shown := client.get(f"/report?{asked}").text):
        assert time.monotonic() < deadline_s
    assert "the record holds" in shown
    assert "journal and tables hold" in client.get(f"/report/file?{asked}").text
    rows.connection.execute("UPDATE events SET score = 0.1")
    client.post(f"/report/check?{asked}", headers=ORIGIN)
    while "is being checked" in (shown := client.get(f"/report?{asked}").text):
        assert time.monotonic() < deadline_s
    assert "The record is not what was written" in shown
    assert "These records are not what was written" in client.get(f"/report/open?{asked}").text


@pytest.mark.parametrize(
    "asked",
    ["since=never&until=now", "shift=2026-11-28/none", "day=2026-02-30", "since=2030-01-01", f"shift={'x' * 99}"],
)
def test_a_wrong_time_is_one_sentence(at_shift: TestClient, asked: str) -> None:
    for page in ("/report", "/report/open", "/report/file"):
        assert at_shift.get(f"{page}?{asked}").status_code == 400


def test_a_time_that_has_not_begun(at_shift: TestClient) -> None:
    ahead = time.gmtime(max(time.time(), BEGAN_UTC) + 40 * 86_400)
    asked = f"day={time.strftime('%Y-%m-%d', ahead)}"
    assert "This time has not begun" in at_shift.get(f"/report?{asked}").text
    assert at_shift.get(f"/report/file?{asked}").status_code == 400


def test_too_many_at_once_are_refused_at_once(at_shift: TestClient) -> None:
    """They wait in no thread: the other pages need those."""
    with report_pages._place(), report_pages._place():
        refused = at_shift.get("/report/file", params={"shift": SHIFT})
        assert refused.status_code == 503
        assert "too many reports" in refused.text
        assert refused.headers["retry-after"] == "10"
    assert at_shift.get("/report/file", params={"shift": SHIFT}).status_code == 200
