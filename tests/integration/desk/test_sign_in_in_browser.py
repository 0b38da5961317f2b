# SPDX-License-Identifier: AGPL-3.0-or-later
"""Signing in as a person does, in a real browser: what it sends of `Origin` and cookies is what the desk expects."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect
from tests.fakes.desk import CHEAP
from tests.fakes.ports import free_port

from vision_line.desk.users.accounts import Accounts
from vision_line.desk.users.sessions import Role
from vision_line.records.schema import FILE_NAME, open_writer
from vision_line.reviews.passwords import PasswordHasher

CHROMIUM = Path("/usr/bin/chromium")
PASSWORD = "correct horse battery"  # noqa: S105 - nobody's

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's package chromium")


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Yield the address of a desk with one user."""
    with closing(open_writer(tmp_path / FILE_NAME)):
        pass
    Accounts(tmp_path, PasswordHasher(CHEAP)).add("anna", Role.QUALITY, PASSWORD, by="test")
    host = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "vision_line", "desk", "--record", str(tmp_path), "--listen", host]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"sign in at http://{host}\n"
        yield f"http://{host}"
        process.terminate()


@pytest.fixture
async def page(address: str) -> AsyncIterator[Page]:
    """Yield a page of a phone's size."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM)
        yield await browser.new_page(base_url=address, viewport={"width": 360, "height": 740})
        await browser.close()


async def sign_in(page: Page, password: str) -> None:
    """Fill in the page, and send it with the keyboard."""
    await page.get_by_label("Name").fill("anna")
    await page.get_by_label("Password").fill(password)
    await page.get_by_label("Password").press("Enter")


async def test_a_person_signs_in_changes_the_password_and_signs_out(page: Page) -> None:
    """The page that was asked for comes after signing in; nothing is wider than a phone."""
    await page.goto("/events?camera=cap")
    await sign_in(page, "wrong horse battery")
    await expect(page.get_by_role("alert")).to_have_text("name or password is wrong")
    await sign_in(page, PASSWORD)
    await expect(page).to_have_url("/events?camera=cap")
    await page.get_by_role("link", name="Account").click()
    await page.get_by_label("Old password").fill(PASSWORD)
    for label in ("New password, 12", "New password again"):
        await page.get_by_label(label).fill("another long password")
    await page.get_by_role("button", name="Change it").click()
    await expect(page.get_by_role("heading", name="anna")).to_be_visible()
    await page.get_by_role("link", name="All users").click()
    await expect(page.get_by_text("password changed")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    (cookie,) = await page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Name")).to_be_focused()
    await page.goto("/accounts")
    await expect(page.get_by_label("Name")).to_be_visible()
