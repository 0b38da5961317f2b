# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs that fail say why in one sentence, in their exit code and in their summary."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import nan
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.fakes.proven_bundle import write_proven_bundle
from tests.fakes.tiny_model import build_tiny_model

pytestmark = pytest.mark.e2e

FRAMES = 40


def write_video(path: Path) -> None:
    """Write a video of noise whose index comes first."""
    random = np.random.default_rng(1)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"bf": "0", "g": "5"}
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(random.integers(0, 200, (72, 64), np.uint8), format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def write_broken_model(path: Path) -> None:
    """Write a detection model that finds nothing but not-a-number."""
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["images"], ["tiles"], kernel_shape=[32, 32], strides=[32, 32]),
            helper.make_node("Concat", ["tiles", "tiles"], ["map"], axis=1),
            helper.make_node("Mul", ["map", "nan"], ["broken"]),
            helper.make_node("Reshape", ["broken", "rows"], ["output0"]),
        ],
        "broken",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 6, 4])],
        [
            helper.make_tensor("nan", TensorProto.FLOAT, [], [nan]),
            helper.make_tensor("rows", TensorProto.INT64, [3], [0, 6, -1]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    entries = {"task": "detect", "names": "{0: 'open', 1: 'short'}", "stride": "32", "imgsz": "[64, 64]"}
    helper.set_model_props(model, entries | {"end2end": "False", "args": "{'nms': None, 'dynamic': False}"})
    onnx.save_model(model, str(path))


def write_streams(run: Any, video: Path) -> None:
    run.streams.write_text(
        f'config_version = 1\n[[stream]]\nname = "video"\nurl = "file:{video}"\npaced = false\n', encoding="utf-8"
    )


def test_no_frame_is_inspected_by_an_engine_that_computes_wrongly(
    make_run: Callable[[int], Any], tmp_path: Path
) -> None:
    """Exit code 3 before the first frame; one sentence says where, in which variants, what was expected and found."""
    variant = "qdq-s8-symmetric"
    variants = {variant: build_tiny_model(quantized=True)}
    folder = write_proven_bundle(tmp_path / "bundle", variants, ((64, 128),), false={(variant, (64, 128))})
    run = make_run(1)
    write_video(tmp_path / "video.mp4")
    write_streams(run, tmp_path / "video.mp4")

    assert run.run("--model", str(folder), "--device", "cpu") == 3, run.text()
    assert "no variant of the model computes rightly on" in run.text()
    assert "signed INT8 at 128x64, against the bundle's proof: " in run.text()
    assert "Traceback" not in run.text()
    assert run.query("SELECT count(*) FROM detections") == [(0,)]


def test_the_variant_that_ran_is_kept(make_run: Callable[[int], Any], tmp_path: Path) -> None:
    """The summary and the run's record say it, why, and on which instruction set."""
    variant = "qdq-s8-symmetric"
    variants = {variant: build_tiny_model(quantized=True)}
    folder = write_proven_bundle(tmp_path / "bundle", variants, ((64, 128),))
    run = make_run(1)
    write_video(tmp_path / "video.mp4")
    write_streams(run, tmp_path / "video.mp4")

    run.run("--model", str(folder), "--device", "cpu")
    summary = run.summary()
    model = summary["model"]
    assert (model["form"], model["precision"]) == ("signed INT8", "int8"), run.text()
    assert model["form_reason"] == "proven by the bundle's proof"
    recorded = run.query("SELECT instruction_set, form, form_reason, precision FROM runs")
    assert recorded == [(summary["device_instruction_set"], "signed INT8", "proven by the bundle's proof", "int8")]


def test_an_engine_that_fails_ends_the_run_with_one_sentence(make_run: Callable[[int], Any], tmp_path: Path) -> None:
    """Exit code 4, no traceback, and a summary that says why."""
    run = make_run(1)
    write_video(tmp_path / "video.mp4")
    write_broken_model(tmp_path / "broken.onnx")
    write_streams(run, tmp_path / "video.mp4")

    assert run.run("--model", str(tmp_path / "broken.onnx")) == 4, run.text()
    assert "vision-line: the engine returned scores" in run.text()
    assert "Traceback" not in run.text()
    assert "never retrieved" not in run.text()
    summary = run.summary()
    assert "not numbers" in summary["error"]
    assert summary["cameras"][0]["frames_inspected"] == 0


def test_a_video_that_was_cut_off_does_not_end_well(make_run: Callable[[int], Any], tmp_path: Path) -> None:
    """What is there is inspected; the exit code, the last words and the summary say that it was not all."""
    video = tmp_path / "cut.mp4"
    write_video(video)
    video.write_bytes(video.read_bytes()[: video.stat().st_size * 2 // 3])
    run = make_run(1)
    write_streams(run, video)

    assert run.run() == 4, run.text()
    assert "cut.mp4' was cut off" in run.text()
    assert "Traceback" not in run.text()
    summary = run.summary()
    (camera,) = summary["cameras"]
    assert (camera["state"], camera["code"]) == ("ENDED", "CORRUPT")
    assert 0 < camera["frames_inspected"] < FRAMES
    assert "was cut off" in summary["error"]
    assert run.query("SELECT code FROM states WHERE state = 'ENDED'") == [("CORRUPT",)]


def test_unreadable_files_end_with_the_others(make_run: Callable[[int], Any], tmp_path: Path) -> None:
    """The good one is inspected, each of the others is named, and the exit code says that it was not all."""
    write_video(tmp_path / "good.mp4")
    (tmp_path / "zero.mp4").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile good.mp4\n")
    names = ["good.mp4", "zero.mp4", "folder", "list.mp4", "gone.mp4"]
    run = make_run(1)
    run.streams.write_text(
        "config_version = 1\n[defaults]\npaced = false\n"
        + "".join(f'[[stream]]\nname = "{name}"\nurl = "file:{tmp_path}/{name}"\n' for name in names)
    )

    assert run.run() == 4, run.text()
    codes = {camera["name"]: camera["code"] for camera in run.summary()["cameras"]}
    assert codes == {
        "good.mp4": None,
        "zero.mp4": "CORRUPT",
        "folder": "NOT_FOUND",
        "list.mp4": "FORMAT_REFUSED",
        "gone.mp4": "NOT_FOUND",
    }
    assert all(f"camera '{name}': {code}: " in run.summary()["error"] for name, code in codes.items() if code)
    assert run.summary()["cameras"][0]["frames_inspected"] == FRAMES
