# SPDX-License-Identifier: AGPL-3.0-or-later
"""Live video in a real browser, of a real run over RTSP: tiles, one camera frame by frame with its boxes, regions."""

from __future__ import annotations

import io
import os
import signal
import threading
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from playwright.async_api import Page, async_playwright
from tests.e2e.conftest import LineRun
from tests.fakes.desk_browser import CHROMIUM, desk_links, needs_chromium

from vision_line.config.load import load_config
from vision_line.feed.feed_client import FeedClient
from vision_line.feed.protocol import FeedMessage
from vision_line.simulator.barcode import BLOCK_PX, read_barcode

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    needs_chromium,
]

BLOCKS = 640 // BLOCK_PX
#: Reads the barcode of each frame that is painted, and what the page says that it painted: also from a tile, which is
#: smaller, where the browser did not keep up with the video.
SEE = """
({count, blocks}) => new Promise((resolve) => {
  const video = document.querySelector("video"), seen = [];
  const still = document.querySelector(".live-still"), overlay = document.querySelector(".live-overlay");
  const see = () => {
    const {frame, boxes, count: drawn} = overlay.dataset, {width, height} = still;
    if (frame && frame === seen.at(-1)?.frame) seen.pop();  // its result may have come meanwhile
    if (frame) {
      const block = width / blocks;
      const row = still.getContext("2d").getImageData(0, height - Math.round(block / 2), width, 1).data, levels = [];
      for (let at = 0; at < blocks; at++) levels.push(row[4 * Math.floor((at + 0.5) * block) + 1]);
      seen.push({levels, frame, boxes, count: Number(drawn), size: [width, height]});
    }
    if (seen.length === count) resolve(seen);
    else requestAnimationFrame(see);
  };
  see();
})
"""


def name_of(message: FeedMessage) -> str:
    """Return what names a frame: several may arrive at once."""
    return f"{message.header['arrived_s']!r}/{message.header['pts_s']!r}"


def arrival(name: str) -> float:
    """Return when a frame of this name arrived."""
    return float(name.partition("/")[0])


class FeedWitness:
    """Takes down what the feed says of one camera, beside the desk."""

    def __init__(self, run: LineRun, camera: str) -> None:
        self._frames: list[FeedMessage] = []
        self.results: dict[str, int] = {}  # how many boxes, by the frame's name
        self._client = FeedClient(run.records)
        self._client.want(results=[camera], frames={camera: "all"})
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._ends.is_set():
            message = self._client.receive(20)
            assert message is not None
            if message.kind == "frame":
                self._frames.append(message)
            elif message.kind == "result":
                self.results[name_of(message)] = len(message.header["boxes"])

    def close(self) -> None:
        """Stop."""
        self._ends.set()
        self._thread.join(20)
        self._client.close()

    def barcodes(self) -> dict[str, tuple[int, int] | None]:
        """Return what stands in each frame, by its name."""
        with av.open(io.BytesIO(b"".join(message.payload for message in self._frames)), "r", format="h264") as file:
            decoded = [
                read_barcode(np.asarray(frame.to_ndarray(format="gray"), np.uint8)) for frame in file.decode(video=0)
            ]
        return dict(zip(map(name_of, self._frames), decoded, strict=True))


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LineRun]:
    """Yield a run of two cameras, and of one that nobody answers for, that goes on."""
    run = LineRun(tmp_path_factory.mktemp("live"), 2)
    run.write_streams(run.names, '[[stream]]\nname = "dead"\nurl = "rtsp://127.0.0.1:9/none"\n')
    run.start("--duration", "3000")
    run.wait_for_detections()
    try:
        yield run
    finally:
        run.signal(signal.SIGTERM)
        run.wait()


@pytest.fixture(scope="module")
def links(line: LineRun) -> Iterator[Iterator[str]]:
    """Yield what gives the next link of a desk over the run's records: each opens it once."""
    with desk_links(line.records) as links:
        yield links


@pytest.fixture
async def page(links: Iterator[str]) -> AsyncIterator[Page]:
    """Yield a page that is signed in; afterwards nothing has failed in it."""
    link = next(links)
    complaints: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        context = await browser.new_context(
            base_url=link.partition("/enter")[0], viewport={"width": 1280, "height": 1300}
        )
        shown = await context.new_page()
        shown.on("pageerror", lambda error: complaints.append(str(error)))
        shown.on("console", lambda said: complaints.append(said.text) if "Refused" in said.text else None)
        await shown.goto(link)
        yield shown
        await browser.close()
    assert not complaints


async def test_tiles_go_on_and_a_dead_camera_is_grey(page: Page, line: LineRun) -> None:
    await page.keyboard.press("l")
    await page.wait_for_url("**/live")
    tile = f".live-tile:has(a[href='/live/{line.names[0]}'])"
    await page.wait_for_selector(f"{tile}[data-frame]:not(.dead)")
    for _ in range(2):
        shown = await page.get_attribute(tile, "data-frame")
        await page.wait_for_selector(f"{tile}:not([data-frame='{shown}'])")
    dead = page.locator(".live-tile.dead", has_text="dead")
    assert "not inspected in this run" in await dead.inner_text()
    assert "no image yet" in await dead.inner_text()


async def test_what_is_painted_has_the_boxes_of_its_frame(page: Page, line: LineRun) -> None:
    with witnessed(line) as witness:
        await page.goto(f"/live/{line.names[0]}")
        await page.wait_for_selector(".live-stage:not(.dead)")
        seen = await page.evaluate(SEE, {"count": 40, "blocks": BLOCKS})
    check_painted(seen, witness)


async def test_where_the_browser_cannot_play_keyframes_have_their_boxes(page: Page, line: LineRun) -> None:
    with witnessed(line) as witness:
        await page.goto(f"/live/{line.names[0]}")
        await page.wait_for_selector(".live-overlay[data-frame]")
        await page.evaluate("document.querySelector('video').dispatchEvent(new Event('error'))")
        await page.wait_for_selector("#live-note:has-text('Keyframes only')")
        seen = await page.evaluate(SEE, {"count": 5, "blocks": BLOCKS})
    check_painted(seen, witness)
    assert seen[-1]["size"] == [320, 180]


@contextmanager
def witnessed(line: LineRun) -> Iterator[FeedWitness]:
    """Yield a witness of the first camera, which has ended afterwards."""
    witness = FeedWitness(line, line.names[0])
    try:
        yield witness
    finally:
        witness.close()


def check_painted(seen: list[dict[str, Any]], witness: FeedWitness) -> None:
    """Read from the pixels: the frame that the overlay names is the one on the screen, and the boxes are its own."""
    barcodes = witness.barcodes()
    read = 0
    for one in seen:
        levels = np.array(one["levels"], np.uint8)
        painted = read_barcode(np.repeat(levels, BLOCK_PX)[None, :].repeat(BLOCK_PX, axis=0))
        assert painted == barcodes[one["frame"]], one
        read += painted is not None
        if one["boxes"]:
            assert 0 <= arrival(one["frame"]) - arrival(one["boxes"]) <= 0.5
            assert one["count"] == witness.results[one["boxes"]]
    assert any(one["boxes"] == one["frame"] for one in seen)
    assert len({one["frame"] for one in seen}) > 0.75 * len(seen)
    assert read > 0.75 * len(seen)


async def test_a_line_that_stands_still_is_not_shown_as_live(page: Page, line: LineRun) -> None:
    """Its cameras send nothing: tile and video are grey, with since when; they come back by themselves."""
    with paused(simulator_of(line)):
        await page.goto(f"/live/{line.names[0]}")
        await page.wait_for_selector("#live-words:has-text('not inspected since')")
        assert await page.locator(".live-stage.dead").count()
        await page.goto("/live")
        for name in line.names:
            await page.wait_for_selector(f".live-tile.dead:has-text('{name}'):has-text('not inspected since')")
    await page.wait_for_selector(".live-tile:not(.dead)", timeout=40_000)


async def test_signing_out_elsewhere_ends_what_is_watched(page: Page, line: LineRun) -> None:
    await page.goto(f"/live/{line.names[0]}")
    await page.wait_for_selector(".live-stage:not(.dead)")
    other = await page.context.new_page()
    await other.goto("/trail")
    await other.click("text=Sign out")
    await page.bring_to_front()
    await page.wait_for_selector("video", state="detached")
    assert (await page.request.get("/api/v1/live")).status == 401


async def test_drawn_regions_are_what_the_configuration_takes(page: Page, line: LineRun) -> None:
    """By mouse and by keys, on the camera's next keyframe."""
    await page.goto(f"/live/{line.names[0]}/regions")
    await page.wait_for_selector(".live-stage img:not([hidden])")
    box = await page.locator(".live-stage svg").bounding_box()
    assert box is not None
    for x, y in ((0.1, 0.2), (0.9, 0.2), (0.9, 0.8)):
        await page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    await page.keyboard.press("ArrowLeft")
    await page.click("text=add a point")
    await page.keyboard.press("Delete")
    await page.click("text=new region")
    await page.click("text=add a point")
    text = await page.input_value("#toml")
    regions = tomllib.loads(text)["roi"]
    assert [len(region) for region in regions] == [3, 4]
    assert regions[0] == [pytest.approx(point, abs=0.003) for point in ((0.1, 0.2), (0.9, 0.2), (0.898, 0.8))]
    path = line.folder / "drawn.toml"
    path.write_text(f'config_version = 1\n[[stream]]\nname = "cam01"\nurl = "rtsp://192.0.2.1/x"\n{text}\n')
    assert load_config(path).config.stream[0].roi == regions


def simulator_of(line: LineRun) -> int:
    """Return the process that serves the run's cameras."""
    assert line.process is not None
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            is_child = f"\nPPid:\t{line.process.pid}\n" in (entry / "status").read_text()
            if is_child and b"simulator.server" in (entry / "cmdline").read_bytes():
                return int(entry.name)
    pytest.fail("the run has no simulator")


@contextmanager
def paused(process: int) -> Iterator[None]:
    """Have a process stand still meanwhile."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)
