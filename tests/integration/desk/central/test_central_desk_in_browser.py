# SPDX-License-Identifier: AGPL-3.0-or-later
"""The desk of all boxes as people see it: two processes, a real database, images from a box's own desk."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import psycopg
import pytest
from playwright.async_api import Page
from tests.fakes.central_shipping import shipped
from tests.fakes.desk_browser import PHONE, needs_chromium, signed_in_page
from tests.fakes.desk_records import BEGAN_UTC, writing
from tests.fakes.ports import free_port
from typer.testing import CliRunner

from vision_line.central.database_url import parsed
from vision_line.cli.main import cli
from vision_line.desk.central.central_source import CentralSource
from vision_line.errors import RunError
from vision_line.records.schema import transaction

PAGE = Path(__file__).parents[4] / "docs" / "plant-desk.md"


@contextmanager
def desk(*options: str) -> Iterator[str]:
    """Run `vision-line desk`, and yield the link that it says."""
    command = [sys.executable, "-m", "vision_line", "desk", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:  # else a test that fails waits for it for ever
            process.terminate()


def box(directory: Path, camera: str, image: bytes) -> Path:
    """Write the records of a box whose run goes on, with one event."""
    directory.mkdir()
    now_s = time.time() - BEGAN_UTC
    with writing(directory) as rows:
        run = rows.run(now_s - 900, None, camera, alive_s=now_s)
        with transaction(rows.connection):
            rows.connection.execute("UPDATE runs SET run_id = ?", (directory.name,))
        rows.minute(run, camera, now_s // 60 * 60 - 120, 90)
        rows.images(rows.event(run, camera, now_s - 300), image, exact=True)
    return directory


async def its_own_image(page: Page) -> None:
    """Load the page of an event until it has its image: a box that took too long is left alone for a while."""
    shown, until_s = page.locator("img.crop"), time.monotonic() + 60
    while await shown.evaluate("image => image.decode().then(() => image.naturalWidth)") != 64:
        answer = await page.request.get(str(await shown.get_attribute("src")))
        assert time.monotonic() < until_s, await answer.text()
        await page.reload()


@needs_chromium
async def test_a_person_finds_the_image_of_another_box(new_plant: Callable[[], str], tmp_path: Path) -> None:
    """On a phone, and by a role that may only read: the box that cannot be reached is named in its image's place."""
    image = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
    url = new_plant()
    hall_1, hall_2 = (box(tmp_path / name, "cam01", image + name.encode()) for name in ("hall-1", "hall-2"))
    await shipped(url, {"hall-1": hall_1, "hall-2": hall_2})
    with psycopg.connect(url, autocommit=True) as connection:
        (rights,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        connection.execute(f"DROP ROLE IF EXISTS desk; CREATE ROLE desk LOGIN; {rights}".encode())
        connection.execute("UPDATE plant.nodes SET seen_utc = seen_utc - 300 WHERE node = 'hall-2'")
    token, ports = tmp_path / "token", (free_port(), free_port(), free_port())
    token.write_text("t" * 40)
    boxes = tmp_path / "boxes.toml"
    boxes.write_text(
        "".join(
            f'[[box]]\nname = "hall-{n}"\ndesk = "http://127.0.0.1:{port}"\n' for n, port in enumerate(ports[:2], 1)
        )
    )
    with (
        desk("--record", str(hall_1), "--listen", f"127.0.0.1:{ports[0]}", "--fleet-token", str(token)),
        desk(
            *("--database", url.replace("postgres@", "desk@"), "--record", str(tmp_path / "plant-desk")),
            *("--listen", f"127.0.0.1:{ports[2]}", "--boxes", str(boxes), "--fleet-token", str(token)),
        ) as link,
    ):
        async with signed_in_page(link, PHONE, is_silent=False) as page:
            await page.get_by_text("hall-2 has sent nothing for").wait_for()
            assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
            await page.goto("/events?box=hall-1")
            await page.locator(".tile a").click()
            await its_own_image(page)
            await page.goto("/events?box=hall-2")
            instead = page.locator(".tile img")
            assert await instead.evaluate("image => image.decode().then(() => image.naturalWidth)") == 320
            answer = await page.request.get(str(await instead.get_attribute("src")))
            assert "hall-2 has" in await answer.text()


def test_options_that_do_not_go_together_are_said(new_plant: Callable[[], str], tmp_path: Path) -> None:
    hall_1 = box(tmp_path / "hall-1", "cam01", b"image")
    (tmp_path / "boxes.toml").write_text('[[box]]\nname = "a"\ndesk = "https://a"\n')
    boxes, url = ("--boxes", str(tmp_path / "boxes.toml")), new_plant()
    for options, says in (
        (("--record", str(hall_1), *boxes), "--boxes"),
        (("--database", url, "--record", str(hall_1)), "has a box's records"),
        (("--database", url, "--record", str(tmp_path / "desk"), *boxes), "--fleet-token"),
        (("--database", "mysql://a@b/c", "--record", str(tmp_path / "desk")), "postgresql"),
        (("--database", url[:-1] + "none", "--record", str(tmp_path / "desk")), "does not exist"),
    ):
        done = CliRunner().invoke(cli, ["desk", "--listen", f"127.0.0.1:{free_port()}", *options])
        assert (done.exit_code != 0, says in done.stderr) == (True, True), (options, done.stderr)


def test_the_desk_writes_nothing(new_plant: Callable[[], str], tmp_path: Path) -> None:
    """Whoever it connects as."""
    source = CentralSource(parsed(new_plant()), tmp_path)
    with pytest.raises(RunError, match="read-only transaction"), source.open() as records:
        records.execute("DELETE FROM plant.nodes")
