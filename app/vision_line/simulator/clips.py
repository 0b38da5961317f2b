# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clips of the simulated cameras: rendered and encoded once, kept in a cache folder, looped for ever."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import numpy as np

from vision_line.errors import ConfigError, RunError
from vision_line.ports import ProgressCallback
from vision_line.simulator.scene import FPS, SIZE_WH, Pixels, Scene, ScenePlan
from vision_line.simulator.truth import ClipTruth, DefectTruth

# Part of each cache key: raise it with every change of what is drawn or how it is encoded.
DRAWING_VERSION = 4
MOST_CAMERAS = 255
_REPORT_S = 0.25
_SPEEDS_PX_S = (80.0, 130.0)

CONTEXT = multiprocessing.get_context("spawn")
WORKERS = 2

_drawn: Synchronized[int] | None = None


@dataclass(frozen=True, slots=True)
class Clip:
    """One camera's clip: `video` is H.264 (Annex B, one slice a frame), `truth` its JSON lines."""

    camera: str
    clip_id: int
    fps: int
    frames: int
    video: Path
    truth: Path


def ensure_clips(
    cameras: int,
    seed: int = 0,
    directory: Path | None = None,
    progress: ProgressCallback | None = None,
    frames: int = 500,
) -> list[Clip]:
    """Make the clips of `cameras` cameras that are not in the cache folder yet; gives all, cam01 first.

    Two worker processes draw; `progress` is called in this thread. The same arguments give the same clips.
    A clip appears whole or not at all, also when two programs render at once or one is killed.

    Raises:
        ConfigError: not 1 to 255 cameras, or the folder cannot be written.
        RunError: a worker died.
    """
    if not 1 <= cameras <= MOST_CAMERAS:
        raise ConfigError(f"simulator: 1 to {MOST_CAMERAS} cameras expected, found {cameras}")
    plans = [plan_clip(number, seed, frames) for number in range(1, cameras + 1)]
    return ensure_planned_clips(plans, default_directory() if directory is None else directory, progress)


def ensure_planned_clips(
    plans: Sequence[ScenePlan], folder: Path, progress: ProgressCallback | None = None
) -> list[Clip]:
    """Make the clips of cameras that see these scenes, cam01 first, as `ensure_clips` does.

    Raises:
        ConfigError: the folder cannot be written.
        RunError: a worker died.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"simulator: folder {folder} cannot be made: {error.strerror}") from error
    clips = [_clip(number, plan, folder) for number, plan in enumerate(plans, start=1)]
    missing = [(clip, plan) for clip, plan in zip(clips, plans, strict=True) if not clip.video.exists()]
    if missing:
        _render_all(missing, progress)
    return clips


def default_directory() -> Path:
    """Give the user's cache folder for clips."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "vision-line" / "clips"


def plan_clip(number: int, seed: int, frames: int = 500) -> ScenePlan:
    """Choose what camera `number` (from 1) sees: each has other boards, belt, light and speed."""
    rng = np.random.default_rng((seed, number))
    # A shorter clip has fewer boards, so that they keep their distance.
    return ScenePlan(
        seed=int(rng.integers(2**31)),
        frames=frames,
        boards=max(round(frames / 100), 1),
        speed_px_s=float(np.round(rng.uniform(*_SPEEDS_PX_S), 1)),
    )


def _clip(number: int, plan: ScenePlan, folder: Path) -> Clip:
    key = json.dumps((DRAWING_VERSION, SIZE_WH, FPS, number, asdict(plan)))
    name = f"cam{number:02d}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    return Clip(f"cam{number:02d}", number, FPS, plan.frames, folder / f"{name}.h264", folder / f"{name}.jsonl")


def _render_all(missing: list[tuple[Clip, ScenePlan]], progress: ProgressCallback | None) -> None:
    counter = CONTEXT.Value("i", 0)
    total = sum(clip.frames for clip, _ in missing)
    with open_workers(counter) as pool:
        pending: set[Future[None]] = {pool.submit(_render, clip, plan) for clip, plan in missing}
        try:
            while pending:
                finished, pending = wait(pending, timeout=_REPORT_S)
                for future in finished:
                    future.result()
                if progress is not None:
                    progress(counter.value, total)
        except OSError as error:
            raise RunError(f"simulator: clips cannot be written: {error}") from error
        except BrokenExecutor as error:
            raise RunError("simulator: a process that renders clips was ended from outside") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _render(clip: Clip, plan: ScenePlan) -> None:
    """Draw, encode and store one clip; runs in a worker process."""
    import cv2

    from vision_line.simulator.codec import encode, open_encoder
    from vision_line.simulator.scene import draw_scene
    from vision_line.simulator.truth import write_truth

    cv2.setNumThreads(1)
    scene = draw_scene(plan)
    partial = clip.video.with_suffix(f".{os.getpid()}.part")
    try:
        write_truth(partial, clip_truth(clip.clip_id, scene))
        partial.replace(clip.truth)
        with partial.open("wb") as file:
            for unit in encode(open_encoder(SIZE_WH, FPS), _frames(clip, scene)):
                file.write(unit)
        # The video comes last: where it is, the clip is complete.
        partial.replace(clip.video)
    finally:
        partial.unlink(missing_ok=True)


def _frames(clip: Clip, scene: Scene) -> Iterator[Pixels]:
    from vision_line.simulator.barcode import write_barcode

    for index in range(clip.frames):
        frame = scene.render(index)
        write_barcode(frame, clip.clip_id, index)
        yield frame
        count_drawn()


def clip_truth(clip_id: int, scene: Scene) -> ClipTruth:
    """Collect what all frames of a scene show."""
    plan = scene.plan
    return ClipTruth(
        clip_id=clip_id,
        seed=plan.seed,
        fps=FPS,
        size_wh=SIZE_WH,
        speed_px_s=plan.belt_px * FPS / plan.frames,
        boards=scene.boards,
        defects=tuple(DefectTruth(d.defect_id, d.board, d.kind, d.longer_side_px) for d in scene.defects),
        frames=tuple(scene.boxes(index) for index in range(plan.frames)),
    )


def open_workers(counter: Synchronized[int]) -> ProcessPoolExecutor:
    """Open a pool of two processes; `count_drawn` in a worker adds to `counter` (from `CONTEXT.Value`)."""
    return ProcessPoolExecutor(WORKERS, CONTEXT, initializer=_set_up, initargs=(counter,))


def count_drawn() -> None:
    """Count one drawn frame; for the parent's progress."""
    if _drawn is not None:
        with _drawn.get_lock():
            _drawn.value += 1


def _set_up(counter: Synchronized[int]) -> None:
    global _drawn  # noqa: PLW0603  a process pool has no other way to give its workers an object
    _drawn = counter
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, name="parent-watch", daemon=True).start()


def _leave_with_parent() -> None:
    """End this process when its parent is gone: waiting for work, a pool's worker does not notice."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
